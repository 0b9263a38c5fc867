"""Builds a plan from a graph and a spec, with TensorRT's builder.

Networks are strongly typed: only the graph sets the type of each operation. TensorRT 11 and TensorRT-RTX only support
this kind; TensorRT 10 needs a flag, which the others ignore.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from ..errors import BackendError, BackendUnavailableError
from .build_progress import BuildProgress, make_monitor
from .build_spec import BuildSpec
from .library import Library

# One build at a time: the library has one logger, and a failure must report the reason of its own build.
_BUILDING = threading.Lock()
_MIB = 1 << 20


@dataclass(frozen=True)
class BuiltPlan:
    """A plan's bytes, the duration of its build, and the log of the build at all levels.

    `timing_cache` has the library's kernel timings for later builds; None if it does not keep any.
    """

    data: bytes
    build_s: float
    log: tuple[str, ...]
    timing_cache: bytes | None = None


def build_plan(
    library: Library,
    graph: bytes,
    spec: BuildSpec,
    progress: BuildProgress | None = None,
    *,
    timing_cache: bytes | None = None,
    detailed: bool = False,
) -> BuiltPlan:
    """Build one plan. Blocks for seconds (TensorRT-RTX) to minutes (TensorRT); other threads keep running.

    Args:
        library: the product that `spec` names.
        graph: the ONNX file.
        spec: the plan to build.
        progress: reports progress and can cancel the build.
        timing_cache: the timings of an earlier build for this GPU; TensorRT only.
        detailed: keep names and types of layers in the plan and in the log.

    Raises:
        BackendUnavailableError: the library does not build for the spec's targets.
        BackendError: the library cannot parse or compile the graph (the message has the node or the reason), or
            `progress` was cancelled.
    """
    progress = progress or BuildProgress()
    with _BUILDING, library.log.listen() as lines:
        library.log.drain()
        start = time.perf_counter()
        build = _Build(library, spec, progress)
        build.parse(graph)
        build.configure(detailed, timing_cache)
        plan = build.builder.build_serialized_network(build.network, build.config)
        if plan is None:
            reason = library.log.drain()
            if progress.cancelled:
                raise BackendError(f"the build of {spec.graph} was cancelled")
            raise BackendError(f"{library.flavour.name} {library.version} cannot build {spec.graph}: {reason}")
        progress.complete()
        return BuiltPlan(bytes(plan), time.perf_counter() - start, tuple(lines), build.timing_cache())


class _Build:
    """The library's objects of one build. They depend on each other, so they are released together."""

    def __init__(self, library: Library, spec: BuildSpec, progress: BuildProgress) -> None:
        trt = library.trt
        self.library, self.spec, self.trt = library, spec, trt
        self.builder = self.require("builder", trt.Builder(library.logger))
        # Deprecated and ignored by the versions that only have strongly typed networks.
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        self.network = self.require("network", self.builder.create_network(flags))
        self.parser = self.require("parser", trt.OnnxParser(self.network, library.logger))
        self.config = self.require("configuration", self.builder.create_builder_config())
        self.monitor = make_monitor(trt, progress)

    def require(self, what: str, value: Any) -> Any:
        if value is None:
            raise BackendError(f"{self.library.flavour.name} gave no {what}: {self.library.log.drain()}")
        return value

    def parse(self, graph: bytes) -> None:
        """Parse the graph, and check its inputs and output against the spec."""
        network, parser, spec = self.network, self.parser, self.spec
        if not parser.parse(graph):
            raise BackendError(f"{self.library.flavour.name} cannot read {spec.graph}: {self._parser_errors()}")
        found = {network.get_input(index).name for index in range(network.num_inputs)}
        expected = {tensor.name for tensor in spec.inputs}
        if found != expected or network.num_outputs != 1 or network.get_output(0).name != spec.output.name:
            raise BackendError(
                f"{spec.graph} has the inputs {', '.join(sorted(found))} where {', '.join(sorted(expected))} are "
                f"expected, or another output than {spec.output.name}; export the model again"
            )

    def configure(self, detailed: bool, timing_cache: bytes | None) -> None:
        """Apply the spec to the builder's configuration."""
        trt, config, spec = self.trt, self.config, self.spec
        config.progress_monitor = self.monitor
        if detailed:
            config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if not spec.tf32:
            config.clear_flag(trt.BuilderFlag.TF32)
        if spec.workspace_mib is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, spec.workspace_mib * _MIB)
        self._target()
        for batch in spec.profiles:
            profile = self.require("profile", self.builder.create_optimization_profile())
            for tensor in spec.inputs:
                profile.set_shape(tensor.name, *((n, *tensor.shape) for n in (batch.min, batch.opt, batch.max)))
            if config.add_optimization_profile(profile) < 0:
                raise BackendError(f"{self.library.flavour.name} rejects the batch sizes: {self.library.log.drain()}")
        if self._has_timing_cache:
            # The library rejects a cache of another version or GPU; then it fills an empty one, as in the first build.
            for data in dict.fromkeys((timing_cache or b"", b"")):
                cache = config.create_timing_cache(data)
                if cache is not None and config.set_timing_cache(cache, False):
                    break

    def timing_cache(self) -> bytes | None:
        """The kernel timings of the build on this GPU; None if the library does not keep any."""
        if not self._has_timing_cache:
            return None
        cache = self.config.get_timing_cache()
        return None if cache is None else bytes(cache.serialize())

    @property
    def _has_timing_cache(self) -> bool:
        # TensorRT-RTX does not time kernels in a build; its timing cache is a no-op.
        return not self.library.flavour.ahead_of_time

    def _target(self) -> None:
        trt, config, library = self.trt, self.config, self.library
        if not self.spec.sms:
            return  # TensorRT builds for the current GPU, TensorRT-RTX for all GPUs since Ampere
        config.num_compute_capabilities = len(self.spec.sms)
        for index, sm in enumerate(self.spec.sms):
            capability = trt.ComputeCapability.__members__.get(f"SM{sm}")
            if capability is None or not config.set_compute_capability(capability, index):
                raise BackendUnavailableError(
                    f"{library.flavour.name} {library.version} does not build for SM {sm}; use "
                    f"{', '.join(map(str, library.targets))}"
                )

    def _parser_errors(self) -> str:
        """Each error with its node, without the library's source locations."""
        texts = []
        for index in range(self.parser.num_errors):
            error = self.parser.get_error(index)
            node = f"node {error.node_name()!r} ({error.node_operator()}): " if error.node_name() else ""
            texts.append(f"{node}{error.desc()}")
        self.library.log.drain()  # it repeats the same errors
        return "; ".join(dict.fromkeys(" ".join(text.split()) for text in texts)) or "it gave no reason"
