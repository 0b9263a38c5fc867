"""An execution context made ready for one batch size: nothing of it changes from one run to the next.

TensorRT's guide asks for one context for each shape whose launch is captured in a CUDA graph, and for their activation
memory to be shared (Developer Guide, "CUDA Graphs"). A context of a fixed shape also needs no call but the launch.
"""

from __future__ import annotations

import contextlib
from typing import Any

from ..errors import BackendError
from .build_spec import BuildSpec
from .cuda import Cuda
from .library import Library


class BatchContext:
    """One size of batch on one engine. Used by one thread at a time, on one stream."""

    def __init__(
        self, library: Library, engine: Any, cuda: Cuda, spec: BuildSpec, *, batch_size: int, profile: int, graphs: bool
    ) -> None:
        self._library, self._cuda, self._spec = library, cuda, spec
        self.batch_size = batch_size
        self._graph: Any = None
        # TensorRT-RTX captures by itself where it is told to; for TensorRT `capture` does it.
        self._captures = graphs and not hasattr(library.trt, "CudaGraphStrategy")
        self._context: Any = self._made(self._create(engine, graphs))
        self._must(self._context.set_optimization_profile_async(profile, cuda.handle), f"profile {profile}")
        cuda.synchronize()
        for tensor in spec.inputs:
            shape = (batch_size, *tensor.shape)
            self._must(self._context.set_input_shape(tensor.name, shape), f"shape {shape} of {tensor.name}")
        missing = self._context.infer_shapes()
        self._must(not missing, f"a shape of {', '.join(missing)}")
        found, expected = tuple(self._context.get_tensor_shape(spec.output.name)), (batch_size, *spec.output.shape)
        if found != expected:
            raise BackendError(f"the plan of {spec.graph} gives images {found}, expected {expected}; build it again")
        self.activation_bytes = int(self._context.update_device_memory_size_for_shapes())

    def bind(self, addresses: dict[str, int], activation: int, activation_bytes: int) -> None:
        """Say where everything is: inputs and output by name, and the activations, which all contexts share.

        Raises:
            BackendError: the library refuses an address.
        """
        if activation_bytes:
            self._context.set_device_memory(activation, activation_bytes)
        for name, address in addresses.items():
            self._must(self._context.set_tensor_address(name, address), f"an address for {name}")

    def capture(self) -> None:
        """Record the launch as a CUDA graph, if asked for. Everything must be bound.

        Raises:
            BackendError: the library refuses to run.
        """
        if not self._captures:
            return
        self._launch(self._cuda.handle)  # the first run after a change of shape does work that a graph may not hold
        self._cuda.synchronize()
        builder = self._cuda.capture()
        try:
            self._launch(int(builder.stream.handle))
            self._graph = builder.end_building().complete()
        finally:
            with contextlib.suppress(Exception):  # a capture that failed cannot be ended, and what failed says more
                builder.close()

    def enqueue(self) -> None:
        """Put one run into the stream.

        Raises:
            BackendError: the library refuses to run.
        """
        if self._graph is not None:
            self._graph.launch(self._cuda.stream)
        else:
            self._launch(self._cuda.handle)

    def close(self) -> None:
        """Let go of the graph and the context; nothing of them may be running."""
        if self._graph is not None:
            self._graph.close()
        self._graph = self._context = None

    def _create(self, engine: Any, graphs: bool) -> Any:
        trt = self._library.trt
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not hasattr(engine, "create_runtime_config"):  # TensorRT 10.3
            return engine.create_execution_context(strategy)
        config = self._made(engine.create_runtime_config())
        config.set_execution_context_allocation_strategy(strategy)
        if hasattr(trt, "DynamicShapesKernelSpecializationStrategy"):
            # By default TensorRT-RTX runs fallback kernels until better ones are compiled, and the bytes of an image
            # would change under way. The shape of a context is fixed, so its kernels are compiled once, at once.
            config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        if graphs and hasattr(trt, "CudaGraphStrategy"):
            config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        return engine.create_execution_context(config)

    def _launch(self, stream: int) -> None:
        self._must(self._context.execute_async_v3(stream), "to run")

    def _made(self, value: Any) -> Any:
        self._must(value is not None, "a context")
        return value

    def _must(self, done: bool, what: str) -> None:
        if not done:
            raise BackendError(
                f"{self._library.flavour.name} refuses {what} for {self.batch_size} images of {self._spec.graph}: "
                f"{self._library.log.drain()}"
            )
