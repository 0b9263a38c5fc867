"""A graph and a spec -> a plan, by TensorRT's builder.

Networks are strongly typed: the graph alone says what is computed in which type. TensorRT 11 and TensorRT-RTX know no
other kind, and 10.x is told so by a flag that the others ignore.
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

# One build at a time: the library has one logger, and the reason of a failure must be that of this build.
_BUILDING = threading.Lock()
_MIB = 1 << 20


@dataclass(frozen=True)
class BuiltPlan:
    """A plan's bytes, how long the build took, and the log that it wrote at all levels.

    `timing_cache` is the library's record of kernel timings for later builds; None where it keeps none.
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
    """Build one plan. Blocks for seconds (TensorRT-RTX) to minutes (TensorRT); other threads run meanwhile.

    Args:
        library: the product that `spec` names.
        graph: the ONNX file.
        spec: what to build.
        progress: follows the build and can cancel it.
        timing_cache: what an earlier build for this GPU left; for TensorRT only.
        detailed: keep names and types of layers in the plan and in the log.

    Raises:
        BackendUnavailableError: the library does not build for the spec's targets.
        BackendError: it cannot parse or compile the graph; the message has the node, or the library's reason. Or
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
    """The library's objects of one build; the later ones depend on the earlier, so they live and go together."""

    def __init__(self, library: Library, spec: BuildSpec, progress: BuildProgress) -> None:
        trt = library.trt
        self.library, self.spec, self.trt = library, spec, trt
        self.builder = self.made("builder", trt.Builder(library.logger))
        # Numbered as in the enum; deprecated and ignored where networks are strongly typed anyway.
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        self.network = self.made("network", self.builder.create_network(flags))
        self.parser = self.made("parser", trt.OnnxParser(self.network, library.logger))
        self.config = self.made("configuration", self.builder.create_builder_config())
        self.monitor = make_monitor(trt, progress)

    def made(self, what: str, value: Any) -> Any:
        if value is None:
            raise BackendError(f"{self.library.flavour.name} gave no {what}: {self.library.log.drain()}")
        return value

    def parse(self, graph: bytes) -> None:
        """Read the graph, and check that it is the one that the spec describes."""
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
        """Everything of the spec but the graph."""
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
            profile = self.made("profile", self.builder.create_optimization_profile())
            for tensor in spec.inputs:
                least, best, most = ((n, *tensor.shape) for n in (batch.least, batch.best, batch.most))
                profile.set_shape(tensor.name, least, best, most)
            if config.add_optimization_profile(profile) < 0:
                raise BackendError(f"{self.library.flavour.name} refuses the batch sizes: {self.library.log.drain()}")
        if self._has_timing_cache:
            # One of another version or GPU is refused; then, and for the first build, an empty one is filled.
            for data in dict.fromkeys((timing_cache or b"", b"")):
                cache = config.create_timing_cache(data)
                if cache is not None and config.set_timing_cache(cache, False):
                    break

    def timing_cache(self) -> bytes | None:
        """What the build learnt of this GPU's kernels; None where the library keeps nothing."""
        if not self._has_timing_cache:
            return None
        cache = self.config.get_timing_cache()
        return None if cache is None else bytes(cache.serialize())

    @property
    def _has_timing_cache(self) -> bool:
        # TensorRT-RTX times nothing at build time, and calls its timing cache a no-op.
        return not self.library.flavour.ahead_of_time

    def _target(self) -> None:
        trt, config, library = self.trt, self.config, self.library
        if not self.spec.sms:
            return  # TensorRT builds for the current GPU, TensorRT-RTX for all from Ampere on
        config.num_compute_capabilities = len(self.spec.sms)
        for index, sm in enumerate(self.spec.sms):
            capability = trt.ComputeCapability.__members__.get(f"SM{sm}")
            if capability is None or not config.set_compute_capability(capability, index):
                raise BackendUnavailableError(
                    f"{library.flavour.name} {library.version} does not build for SM {sm}; it takes "
                    f"{', '.join(map(str, library.targets))}"
                )

    def _parser_errors(self) -> str:
        """Each error with its node, without the library's source lines."""
        texts = []
        for index in range(self.parser.num_errors):
            error = self.parser.get_error(index)
            node = f"node {error.node_name()!r} ({error.node_operator()}): " if error.node_name() else ""
            texts.append(f"{node}{error.desc()}")
        self.library.log.drain()  # the same again, in the library's words
        return "; ".join(dict.fromkeys(" ".join(text.split()) for text in texts)) or "it gave no reason"
