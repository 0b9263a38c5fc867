"""An artifact on disk: an immutable folder. Opening it checks every hash.

manifest.json  mapping.onnx  synthesis*.onnx  w_avg.npy  README.md
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import ArtifactError, ModelNotFoundError
from .home import Home
from .manifest import Manifest, Variant

MANIFEST_FILE = "manifest.json"
MAPPING_FILE = "mapping.onnx"
W_AVG_FILE = "w_avg.npy"
MAX_MANIFEST_BYTES = 4 << 20
MAX_FILE_BYTES = 2 << 30


@dataclass(frozen=True)
class Artifact:
    """An opened artifact: its folder and manifest. Each read of a file checks its hash again."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> Artifact:
        """Read the manifest and check the sha256 of every file it names.

        Raises:
            ModelNotFoundError: the folder does not exist.
            ArtifactError: a file is missing, altered or truncated, or the format is unknown.
        """
        path = folder / MANIFEST_FILE
        if not folder.is_dir():
            raise ModelNotFoundError(f"no artifact at {folder}; make one with: nonesuch export NAME --out DIR")
        data = _read(path, MAX_MANIFEST_BYTES)
        artifact = cls(folder, Manifest.decode(data, str(path)))
        for name in (MAPPING_FILE, W_AVG_FILE):
            if name not in artifact.manifest.files:
                raise ArtifactError(f"{path} does not list {name}; export the model again")
        for name in artifact.manifest.files:
            artifact.read(name)
        return artifact

    def read(self, name: str) -> bytes:
        """Read one file of the artifact and check its hash.

        Raises:
            ArtifactError: the file is not part of the artifact, is missing, or was altered.
        """
        expected = self.manifest.files.get(name)
        if expected is None:
            raise ArtifactError(f"{self.folder} has no file {name!r}; it has {', '.join(sorted(self.manifest.files))}")
        data = _read(self.folder / name, MAX_FILE_BYTES)
        found = hashlib.sha256(data).hexdigest()
        if found != expected:
            raise ArtifactError(
                f"{self.folder / name} was altered: its sha256 is {found[:12]}…, the manifest says {expected[:12]}…; "
                "export the model again"
            )
        return data

    def w_avg(self) -> NDArray[np.float32]:
        """The centre of truncation, float32 [w_dim].

        Raises:
            ArtifactError: the file is not such an array.
        """
        data = self.read(W_AVG_FILE)
        try:
            # Not np.load, which would also accept a zip of arrays.
            array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
        except Exception as error:  # numpy parses the header as a Python literal, which can raise anything
            raise ArtifactError(f"{self.folder / W_AVG_FILE} is not an array ({error})") from error
        if array.dtype != np.float32 or array.shape != (self.manifest.w_dim,) or not np.isfinite(array).all():
            raise ArtifactError(f"{self.folder / W_AVG_FILE} is not float32 [{self.manifest.w_dim}] of finite values")
        return np.asarray(array, dtype=np.float32)

    def variant(
        self,
        runtimes: str | Sequence[str],
        *,
        noise: str | None = None,
        precision: str | None = None,
        upsampling: str | None = None,
        linear: str | None = None,
    ) -> Variant:
        """The first variant that is meant for a runtime, renders uint8 images, and matches the other arguments.

        Of several runtimes, the first with such a variant wins.

        Raises:
            ArtifactError: no variant matches; the message lists the variants.
        """
        names = (runtimes,) if isinstance(runtimes, str) else tuple(runtimes)
        requested = {"precision": precision, "noise": noise, "upsampling": upsampling, "linear": linear}
        for runtime in names:
            for variant in self.manifest.variants:
                matches = all(value in {None, getattr(variant, name)} for name, value in requested.items())
                if matches and runtime in variant.runtimes and variant.output == "uint8_nhwc":
                    return variant
        wanted = " ".join(f"{value} {name}" for name, value in requested.items() if value)
        offered = ", ".join(
            f"{v.file} ({v.precision}, {v.noise} noise, {v.upsampling}, {v.linear}, for {'/'.join(v.runtimes)})"
            for v in self.manifest.variants
        )
        raise ArtifactError(
            f"{self.folder} has no {wanted + ' ' if wanted else ''}variant for {'/'.join(names)}; it has {offered}; "
            "export one with nonesuch export --precision, --noise-mode, --upsampling, --linear"
        )


def find_artifact(model: str | Path, home: Home | None = None) -> Artifact:
    """Open an artifact by path, or by the name of a model in the user's home.

    A `Path` and a string with a path separator are folders; any other string is looked up as a name first.

    Raises:
        ModelNotFoundError: the model is neither a folder nor a known name.
        ArtifactError: as `Artifact.open`.
    """
    home = home or Home.default()
    if isinstance(model, Path) or "/" in model or "\\" in model:
        return Artifact.open(Path(model))
    named = home.artifacts / model
    if model not in {"", ".", ".."} and _has_manifest(named):
        return Artifact.open(named)
    if _has_manifest(Path(model)):
        return Artifact.open(Path(model))
    available = sorted(p.parent.name for p in home.artifacts.glob(f"*/{MANIFEST_FILE}"))
    raise ModelNotFoundError(
        f"no model {model!r}; {'available: ' + ', '.join(available) if available else 'none is exported yet'}; "
        "list models with: nonesuch models list"
    )


def _has_manifest(folder: Path) -> bool:
    try:
        return (folder / MANIFEST_FILE).is_file()
    except OSError:  # an invalid file name, such as one of 300 letters
        return False


def _read(path: Path, limit: int) -> bytes:
    try:
        if path.stat().st_size > limit:
            raise ArtifactError(f"{path} has more than {limit} bytes, the maximum of this format")
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ArtifactError(f"{path} cannot be read ({reason}); export the model again") from error
