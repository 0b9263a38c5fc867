"""Everything that determines a plan; its hash is the plan's key in the cache.

Two builds of one spec differ in their bytes (kernels are chosen by timing, and TensorRT-RTX's output varies between
runs), so the inputs identify a plan, and its own sha256 is stored beside it.
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
"""The version of the spec and of the builder: a change of the builder that changes plans needs a new number."""

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_PORTABLE = (80, 86, 89)
_PORTABLE_FROM = 120


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input or output: [N, *shape] with the name of a numpy dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class BuildSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The description of one plan to build.

    Attributes:
        backend: the product; `library_version` is its full version, and a plan only runs on this version.
        platform: of the machine that runs the plan, such as "linux-x86_64".
        sms: the compute capabilities to build for ahead of time; empty for the portable plan of TensorRT-RTX (8.0, 8.6,
            8.9, 12.0 and later), and for TensorRT, which builds for the GPU that it runs on.
        gpu: the name of that GPU, with its capability and number of multiprocessors; None if built ahead of time.
        profiles: the result of `make_profiles` for `batch_sizes`.
        tf32: whether float32 products may be computed in TF32.
        workspace_mib: max scratch memory of a kernel; None is the library's default.
        model_id: sha256 of the weights.
        graph: the graph's file in the artifact; `graph_sha256` is its hash.
        precision: of the graph, which sets the type of each operation.
        inputs: the inputs of the graph; `output` is its output.
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
        """A short name of the target: "ampere+", "sm86-sm89", or the GPU's capability."""
        if self.gpu is not None:
            return f"sm{self.gpu_sm}"
        return "-".join(f"sm{sm}" for sm in self.sms) or "ampere+"

    def runs_on(self, gpu: Gpu) -> bool:
        """Whether the plan runs on this GPU."""
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
        """The spec of one variant; `gpu` is the GPU that TensorRT builds for."""
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
