"""An execution context prepared for one batch size; nothing in it changes between runs.

TensorRT's guide recommends one context per shape that a CUDA graph captures, with shared activation memory (Developer
Guide, "CUDA Graphs"). A context of a fixed shape also needs only one call per run, the launch.
"""

from __future__ import annotations

import contextlib
from typing import Any

from ..errors import BackendError
from .build_spec import BuildSpec
from .cuda import Cuda
from .library import Library


class BatchContext:
    """One batch size on one engine. Used by one thread at a time, on one stream."""

    def __init__(
        self, library: Library, engine: Any, cuda: Cuda, spec: BuildSpec, *, batch_size: int, profile: int, graphs: bool
    ) -> None:
        self._library, self._cuda, self._spec = library, cuda, spec
        self.batch_size = batch_size
        self._graph: Any = None
        # TensorRT-RTX can capture by itself; for TensorRT `capture` does it.
        self._captures = graphs and not hasattr(library.trt, "CudaGraphStrategy")
        self._context: Any = self._require(self._create(engine, graphs))
        self._check(self._context.set_optimization_profile_async(profile, cuda.handle), f"profile {profile}")
        cuda.synchronize()
        for tensor in spec.inputs:
            shape = (batch_size, *tensor.shape)
            self._check(self._context.set_input_shape(tensor.name, shape), f"shape {shape} of {tensor.name}")
        missing = self._context.infer_shapes()
        self._check(not missing, f"a shape of {', '.join(missing)}")
        found, expected = tuple(self._context.get_tensor_shape(spec.output.name)), (batch_size, *spec.output.shape)
        if found != expected:
            raise BackendError(f"the plan of {spec.graph} gives images {found}, expected {expected}; build it again")
        self.activation_bytes = int(self._context.update_device_memory_size_for_shapes())

    def bind(self, addresses: dict[str, int], activation: int, activation_bytes: int) -> None:
        """Set the addresses of inputs and output by name, and of the activations, which all contexts share.

        Raises:
            BackendError: the library rejects an address.
        """
        if activation_bytes:
            self._context.set_device_memory(activation, activation_bytes)
        for name, address in addresses.items():
            self._check(self._context.set_tensor_address(name, address), f"an address for {name}")

    def capture(self) -> None:
        """Record the launch as a CUDA graph, if enabled. Call `bind` first.

        Raises:
            BackendError: the library refuses to run.
        """
        if not self._captures:
            return
        self._launch(self._cuda.handle)  # the first run with a new shape does work that a graph cannot record
        self._cuda.synchronize()
        builder = self._cuda.capture()
        try:
            self._launch(int(builder.stream.handle))
            self._graph = builder.end_building().complete()
        finally:
            with contextlib.suppress(Exception):  # a failed capture cannot be ended, and its own error says more
                builder.close()

    def enqueue(self) -> None:
        """Enqueue one run in the stream.

        Raises:
            BackendError: the library refuses to run.
        """
        if self._graph is not None:
            self._graph.launch(self._cuda.stream)
        else:
            self._launch(self._cuda.handle)

    def close(self) -> None:
        """Release the graph and the context; they must not be running."""
        if self._graph is not None:
            self._graph.close()
        self._graph = self._context = None

    def _create(self, engine: Any, graphs: bool) -> Any:
        trt = self._library.trt
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not hasattr(engine, "create_runtime_config"):  # TensorRT 10.3
            return engine.create_execution_context(strategy)
        config = self._require(engine.create_runtime_config())
        config.set_execution_context_allocation_strategy(strategy)
        if hasattr(trt, "DynamicShapesKernelSpecializationStrategy"):
            # By default TensorRT-RTX runs fallback kernels until better kernels are compiled, so the bytes of an image
            # could change. The shape of a context is fixed, so its kernels are compiled once, immediately.
            config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        if graphs and hasattr(trt, "CudaGraphStrategy"):
            config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        return engine.create_execution_context(config)

    def _launch(self, stream: int) -> None:
        self._check(self._context.execute_async_v3(stream), "to run")

    def _require(self, value: Any) -> Any:
        self._check(value is not None, "a context")
        return value

    def _check(self, done: bool, what: str) -> None:
        if not done:
            raise BackendError(
                f"{self._library.flavour.name} refuses {what} for {self.batch_size} images of {self._spec.graph}: "
                f"{self._library.log.drain()}"
            )
