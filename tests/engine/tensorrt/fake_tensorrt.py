"""A FAKE of the part of TensorRT that runs plans, in the shapes of TensorRT 10.3, 11.4 and TensorRT-RTX 1.7.

It does not show that a plan runs. It rejects what the real library rejects (a context without memory, an address that
was not set, a shape outside the profile) and paints each image in a colour computed from its styles, so that a test can
tell images apart. `test_api_names.py` checks every name here against the lists of the real versions.
"""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.tensorrt.build_spec import BuildSpec

from .fake_cuda import Stream

VERSIONS = {"tensorrt-10.3": "10.3.0", "tensorrt-11.4": "11.4.0", "tensorrt-rtx-1.7": "1.7.1.116"}
ACTIVATION_BYTES = 1000
"""The activation memory of one image in the fake."""


def colour(ws: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The grey levels that the fake paints images in, uint8 [n]."""
    grey: NDArray[np.uint8] = (np.abs(ws.reshape(len(ws), -1).sum(axis=1) * 1000) % 256).astype(np.uint8)
    return grey


class ILogger:
    """As the library's: a base class for loggers in Python."""

    def __init__(self) -> None:
        pass

    def log(self, severity: int, message: str) -> None:
        raise NotImplementedError


class ExecutionContextAllocationStrategy(enum.Enum):
    """As the library's."""

    STATIC = 0
    ON_PROFILE_CHANGE = 1
    USER_MANAGED = 2


class CudaGraphStrategy(enum.Enum):
    """As the library's, in TensorRT-RTX."""

    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class DynamicShapesKernelSpecializationStrategy(enum.Enum):
    """As the library's, in TensorRT-RTX."""

    LAZY = 0
    EAGER = 1


class FakeTensorRt:
    """The FAKE module.

    Attributes:
        fails: names of calls that fail like the library: with False or None, and a line in the log.
        contexts: all contexts that were created.
    """

    def __init__(self, version: str, spec: BuildSpec) -> None:
        self.__version__ = VERSIONS[version]
        self.ILogger, self.ExecutionContextAllocationStrategy = ILogger, ExecutionContextAllocationStrategy
        self.IExecutionContext = IExecutionContext
        if version == "tensorrt-rtx-1.7":
            self.CudaGraphStrategy = CudaGraphStrategy
            self.DynamicShapesKernelSpecializationStrategy = DynamicShapesKernelSpecializationStrategy
        self.fails: set[str] = set()
        self.contexts: list[IExecutionContext] = []
        fake, engine_class = self, ICudaEngine if version == "tensorrt-10.3" else ICudaEngineWithConfig

        class Runtime:
            def __init__(self, logger: Any) -> None:
                self._logger = logger

            def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
                if not fake.allows("deserialize_cuda_engine", self._logger) or serialized_engine != b"fake plan":
                    return None
                return engine_class(fake, spec, self._logger)

        self.Runtime: Callable[[Any], Any] = Runtime

    def allows(self, call: str, logger: Any) -> bool:
        """Whether a call succeeds; a failure is logged, as by the library."""
        if call in self.fails:
            logger.log(1, f"the fake was told to fail in {call}")
            return False
        return True


class IRuntimeConfig:
    """As the library's from 11 on; `cuda_graph_strategy` is TensorRT-RTX's."""

    def __init__(self) -> None:
        self._strategy = ExecutionContextAllocationStrategy.STATIC
        self.cuda_graph_strategy = CudaGraphStrategy.DISABLED
        self.dynamic_shapes_kernel_specialization_strategy = DynamicShapesKernelSpecializationStrategy.LAZY

    def set_execution_context_allocation_strategy(self, strategy: ExecutionContextAllocationStrategy) -> None:
        self._strategy = strategy


class ICudaEngine:
    """As the library's."""

    def __init__(self, fake: FakeTensorRt, spec: BuildSpec, logger: Any) -> None:
        self._fake, self._spec, self._logger = fake, spec, logger
        self._names = [tensor.name for tensor in (*spec.inputs, spec.output)]
        self.num_io_tensors = len(self._names)
        self.num_optimization_profiles = len(spec.profiles)

    def get_tensor_name(self, index: int) -> str:
        return self._names[index]

    def create_execution_context(self, strategy: Any) -> IExecutionContext | None:
        assert strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        return self._context(CudaGraphStrategy.DISABLED)

    def _context(self, graphs: CudaGraphStrategy) -> IExecutionContext | None:
        if not self._fake.allows("create_execution_context", self._logger):
            return None
        context = IExecutionContext(self._fake, self._spec, self._logger, graphs)
        self._fake.contexts.append(context)
        return context


class ICudaEngineWithConfig(ICudaEngine):
    """As the library's from 11 on."""

    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig()

    def create_execution_context(self, strategy: Any) -> IExecutionContext | None:
        assert isinstance(strategy, IRuntimeConfig)
        assert strategy._strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        eager = DynamicShapesKernelSpecializationStrategy.EAGER
        is_rtx = hasattr(self._fake, "CudaGraphStrategy")
        assert (strategy.dynamic_shapes_kernel_specialization_strategy is eager) == is_rtx
        return self._context(strategy.cuda_graph_strategy)


class IExecutionContext:
    """As the library's: refuses to run before everything is set."""

    def __init__(self, fake: FakeTensorRt, spec: BuildSpec, logger: Any, graphs: CudaGraphStrategy) -> None:
        self._fake, self._spec, self._logger, self._graphs = fake, spec, logger, graphs
        self._profile: int | None = None
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._memory = (0, 0)
        self._runs = 0

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        assert stream_handle in Stream._by_handle
        if not self._fake.allows("set_optimization_profile_async", self._logger):
            return False
        self._profile, self._shapes = profile_index, {}
        return profile_index < len(self._spec.profiles)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert self._profile is not None, "the profile comes before shapes"
        profile = self._spec.profiles[self._profile]
        if not self._fake.allows("set_input_shape", self._logger) or not profile.min <= shape[0] <= profile.max:
            return False
        self._shapes[name] = shape
        return True

    def infer_shapes(self) -> list[str]:
        missing = [tensor.name for tensor in self._spec.inputs if tensor.name not in self._shapes]
        return missing if self._fake.allows("infer_shapes", self._logger) else ["ws"]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        n = self._shapes["ws"][0]
        return (n, *self._spec.output.shape) if name == self._spec.output.name else self._shapes[name]

    def update_device_memory_size_for_shapes(self) -> int:
        return ACTIVATION_BYTES * self._shapes["ws"][0]

    def set_device_memory(self, memory: int, size: int) -> None:
        assert size >= self.update_device_memory_size_for_shapes()
        self._memory = (memory, size)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if not self._fake.allows("set_tensor_address", self._logger):
            return False
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        expected = {tensor.name for tensor in (*self._spec.inputs, self._spec.output)}
        recording = Stream._by_handle[stream_handle]._recording is not None
        if not self._fake.allows("execute_async_v3", self._logger) or (
            recording and not self._fake.allows("capture", self._logger)
        ):
            return False
        assert set(self._addresses) == expected
        assert self._memory[0], "no memory for activations"
        stream = Stream._by_handle[stream_handle]
        assert stream._recording is None or self._runs, "a capture needs a run before it"
        self._runs += 1
        stream._put(self._paint)
        return True

    def _paint(self) -> None:
        n, output = self._shapes["ws"][0], self._spec.output
        size = int(np.prod(self._shapes["ws"]))
        ws = np.frombuffer(memory_at(self._addresses["ws"], 4 * size), np.float32)
        pixels = int(np.prod(output.shape))
        image = np.frombuffer(memory_at(self._addresses[output.name], n * pixels), np.uint8)
        image.reshape(n, pixels)[...] = colour(ws.reshape(n, -1))[:, None]


def memory_at(address: int, size: int) -> memoryview[int]:
    """The memory of `size` bytes at an address."""
    return memoryview((ctypes.c_ubyte * size).from_address(address))
