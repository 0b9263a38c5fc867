"""`manifest.json`: the description of an artifact, versioned and checked against a schema.

The exporter writes it and the engine reads it with these same types. docs/architecture.md describes format 1. Unknown
fields are ignored; an unknown format is an error that names its number.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from .errors import ArtifactError

FORMAT = 1
"""The newest format that this version reads, and the one that it writes."""

# msgspec raises the last two for invalid UTF-8 inside a string, and for brackets nested a hundred thousand deep.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
FileName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z", max_length=128)]
# One line, because it appears in messages, in the model card and in every image.
ModelName = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]+\Z", max_length=128)]
Dimension = Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]


class WsIndex(msgspec.Struct, frozen=True):
    """One of the `num_ws` style inputs: its resolution, and the layers that read it (empty: the index is dead)."""

    index: int
    resolution: int
    consumers: tuple[str, ...]


class GraphInput(msgspec.Struct, frozen=True, kw_only=True):
    """An input of a synthesis graph other than `ws`; float32 [N, *shape]."""

    name: str
    role: Literal["noise", "transform"]  # noise is drawn from the image's seed; transform is [3, 3]
    shape: tuple[Dimension, ...]
    default: tuple[float, ...] = ()  # row-major; the value by default (empty for noise)


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One synthesis graph of the artifact, and its purpose."""

    file: FileName
    precision: Literal["fp32", "fp16"]
    upsampling: str  # the form of up-sampling, as the graph builder names it
    noise: Literal["const", "none", "random"]
    linear: Literal["gemm", "conv1x1"] = "gemm"  # the operator for matrix products
    output: Literal["uint8_nhwc", "float32_nchw"]
    inputs: tuple[GraphInput, ...] = ()
    runtimes: tuple[str, ...]  # backends it is meant for; the first variant that names a backend is its default
    sha256: Sha256


class WeightsSource(msgspec.Struct, frozen=True, kw_only=True):
    """The origin of the weights, and their terms."""

    name: str
    licence: str
    sha256: Sha256  # of the file that was converted


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The whole manifest; `files` has the sha256 of every file but the manifest itself."""

    format: int
    name: ModelName
    model_id: Sha256
    family: str
    z_dim: Dimension
    c_dim: Annotated[int, msgspec.Meta(ge=0, le=1 << 16)]
    w_dim: Dimension
    num_ws: Annotated[int, msgspec.Meta(ge=1, le=1024)]
    resolution: Annotated[int, msgspec.Meta(ge=4, le=8192)]
    channels: Annotated[int, msgspec.Meta(ge=1, le=4)]
    ws_layout: tuple[WsIndex, ...]
    w_avg: str  # how w_avg.npy was computed
    checked: str  # the reference that the exporter compared the graphs with, and the result
    source: WeightsSource
    variants: Annotated[tuple[Variant, ...], msgspec.Meta(min_length=1)]
    files: dict[FileName, Sha256]
    producer: str

    def __post_init__(self) -> None:
        if [entry.index for entry in self.ws_layout] != list(range(self.num_ws)):
            raise ValueError(f"ws_layout does not list the indices 0 to {self.num_ws - 1}")
        for variant in self.variants:
            if self.files.get(variant.file) != variant.sha256:
                raise ValueError(f"variant {variant.file} is not among the files")

    def encode(self) -> bytes:
        """The manifest as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def decode(cls, data: bytes, label: str) -> Manifest:
        """Read a manifest; `label` names it in errors.

        Raises:
            ArtifactError: the data is not JSON, has an unknown format, or does not match the schema.
        """
        try:
            found = msgspec.json.decode(data, type=_Header).format
        except _UNREADABLE as error:
            raise ArtifactError(f"{label} is not a manifest ({error}); export the model again") from error
        if found != FORMAT:
            raise ArtifactError(
                f"{label} has format {found}, this version of nonesuch reads format {FORMAT}; "
                f"{'install a newer nonesuch' if found > FORMAT else 'export the model again'}"
            )
        try:
            return msgspec.json.decode(data, type=cls)
        except _UNREADABLE as error:
            raise ArtifactError(f"{label} does not describe an artifact ({error}); export the model again") from error


class _Header(msgspec.Struct):
    format: int
