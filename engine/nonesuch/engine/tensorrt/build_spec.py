"""All that decides what a plan is; its hash names the plan in the cache.

Two builds of one spec are not byte for byte the same (kernels are chosen by timing, and TensorRT-RTX writes what varies
from run to run), so a plan is known by what went in, and its own sha256 is kept beside it.
"""

from __future__ import annotations

import hashlib
import platform
from typing import Annotated, Literal

import msgspec

from ..artifact import Artifact
from ..cuda_driver import Gpu
from ..manifest import Variant
from .batch_profile import BatchProfile, BatchSize
from .library import Library

SCHEMA = 1
"""Of the spec and of what is built from it: a change of the builder that changes plans is a new number."""

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_PORTABLE = (80, 86, 89)
_PORTABLE_FROM = 120


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input or output: [N, *shape] of a dtype that numpy knows by this name."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class BuildSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One plan, before it is built.

    Attributes:
        backend: the product, and `library_version` its full version: a plan runs on no other.
        platform: of the machine that runs it: "linux-x86_64".
        sms: the compute capabilities it is built for ahead of time; empty for the portable plan of TensorRT-RTX
            (8.0, 8.6, 8.9, 12.0 and later), and for TensorRT, which builds for the GPU that it runs on.
        gpu: that GPU's name, with its capability and its number of multiprocessors; None where built ahead of time.
        profiles: as `make_profiles` gives them for `batch_sizes`.
        tf32: whether float32 products may be computed in TF32.
        workspace_mib: most scratch memory that a kernel may take; None is the library's choice.
        model_id: sha256 of the weights.
        graph: the graph's file in the artifact, and `graph_sha256` its hash.
        precision: of the graph, which says what is computed in which type.
        inputs: of the graph; `output` likewise.
    """

    schema: int = SCHEMA
    backend: Literal["tensorrt", "tensorrt-rtx"]
    library_version: str
    platform: str
    sms: tuple[int, ...] = ()
    gpu: str | None = None
    gpu_sm: int | None = None
    gpu_multiprocessors: int | None = None
    batch_sizes: Annotated[tuple[BatchSize, ...], msgspec.Meta(min_length=1)]
    profiles: Annotated[tuple[BatchProfile, ...], msgspec.Meta(min_length=1)]
    tf32: bool = True
    workspace_mib: int | None = None
    model_id: Sha256
    graph: str
    graph_sha256: Sha256
    precision: Literal["fp32", "fp16"]
    inputs: tuple[TensorSpec, ...]
    output: TensorSpec

    @property
    def key(self) -> str:
        """64 hex digits over all fields."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    @property
    def target(self) -> str:
        """What it is built for, in a word: "ampere+", "sm86-sm89", or the GPU's capability."""
        if self.gpu is not None:
            return f"sm{self.gpu_sm}"
        return "-".join(f"sm{sm}" for sm in self.sms) or "ampere+"

    def runs_on(self, gpu: Gpu) -> bool:
        """Whether the plan is for this GPU."""
        if self.gpu is not None:
            return (self.gpu, self.gpu_sm, self.gpu_multiprocessors) == (gpu.name, gpu.sm, gpu.multiprocessors)
        if self.sms:
            return gpu.sm in self.sms
        return gpu.sm in _PORTABLE or gpu.sm >= _PORTABLE_FROM

    @classmethod
    def of(
        cls,
        library: Library,
        artifact: Artifact,
        variant: Variant,
        *,
        batch_sizes: tuple[int, ...],
        profiles: tuple[BatchProfile, ...],
        sms: tuple[int, ...] = (),
        gpu: Gpu | None = None,
        tf32: bool = True,
        workspace_mib: int | None = None,
    ) -> BuildSpec:
        """The spec of one variant; `gpu` is the one that TensorRT builds for."""
        manifest = artifact.manifest
        picture = (manifest.resolution, manifest.resolution, manifest.channels)
        return cls(
            backend=library.flavour.name,  # type: ignore[arg-type]  # the two flavours are the two literals
            library_version=library.version,
            platform=this_platform(),
            sms=tuple(sorted(sms)),
            gpu=None if gpu is None else gpu.name,
            gpu_sm=None if gpu is None else gpu.sm,
            gpu_multiprocessors=None if gpu is None else gpu.multiprocessors,
            batch_sizes=batch_sizes,
            profiles=profiles,
            tf32=tf32,
            workspace_mib=workspace_mib,
            model_id=manifest.model_id,
            graph=variant.file,
            graph_sha256=variant.sha256,
            precision=variant.precision,
            inputs=(
                TensorSpec("ws", (manifest.num_ws, manifest.w_dim), "float32"),
                *(TensorSpec(one.name, one.shape, "float32") for one in variant.inputs),
            ),
            output=TensorSpec("image", picture, "uint8"),
        )


def this_platform() -> str:
    """The operating system and architecture, such as "linux-x86_64"."""
    return f"{platform.system().lower()}-{platform.machine().lower()}"
