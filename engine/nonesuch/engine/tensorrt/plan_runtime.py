"""Runs a plan on one GPU: allocates everything when it opens, and keeps two batches in flight.

    host  write 1 | write 2 | wait 1 | read 1 | write 3 ...
    GPU             copy, run, copy 1 | copy, run, copy 2 | ...

All work is in one stream, so the copies and the run of a batch follow those of the batch before it, and both share one
set of device buffers; only the pinned memory exists twice. While the device works, the host prepares one batch and
reads the images of another.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, DeviceLostError, NonesuchError, PlanError
from .batch_context import BatchContext
from .batch_profile import profile_index
from .build_spec import BuildSpec, TensorSpec
from .cuda import Cuda, view_of
from .library import Library

IN_FLIGHT = 2


class PlanRuntime:
    """One plan, opened on one device; `IN_FLIGHT` threads may call `run`.

    Args:
        library: the library that built the plan.
        plan: its bytes, whose hash was checked.
        spec: the spec of the plan.
        ordinal: the ordinal of the GPU.
        batch_sizes: the sizes to run; each is inside a profile of the plan.
        cuda_graphs: launch each size as a CUDA graph.

    Raises:
        BackendUnavailableError: cuda-core is not installed.
        PlanError: the plan is not for this GPU or version, or does not match the spec.
        InvalidRequestError: a batch size is outside every profile.
        BackendError: the library failed; the message has its reason.
    """

    def __init__(
        self,
        library: Library,
        plan: bytes,
        spec: BuildSpec,
        *,
        ordinal: int,
        batch_sizes: Sequence[int],
        cuda_graphs: bool = False,
    ) -> None:
        profiles = {size: profile_index(spec.profiles, size) for size in batch_sizes}
        self._library, self._spec = library, spec
        try:
            self._cuda = Cuda(ordinal)
        except NonesuchError:
            raise
        except Exception as error:
            raise BackendError(f"CUDA has no stream on cuda:{ordinal}: {error}") from error
        self._enqueueing = threading.Lock()
        self._staging: SimpleQueue[Staging] = SimpleQueue()
        self._contexts: dict[int, BatchContext] = {}
        self._memory: dict[str, Any] = {}
        self._runtime: Any = None
        self._engine: Any = None
        try:
            self._load(plan)
            for size, profile in profiles.items():
                self._contexts[size] = BatchContext(
                    library, self._engine, self._cuda, spec, batch_size=size, profile=profile, graphs=cuda_graphs
                )
            self._allocate(max(batch_sizes))
            for context in self._contexts.values():
                context.capture()
            self._cuda.synchronize()
        except BaseException as error:
            try:
                if isinstance(error, Exception):
                    self._raise_failure(error, "while the plan was opened")
                raise
            finally:
                with contextlib.suppress(Exception):  # the first error says more
                    self.close()

    def run(self, feeds: Mapping[str, NDArray[np.float32]], batch_size: int) -> NDArray[np.uint8]:
        """Render one batch; blocks until its images are ready.

        Args:
            feeds: float32 [batch_size, ...] by input name.
            batch_size: one of the sizes that the runtime was opened for.

        Returns:
            uint8 [batch_size, H, W, C], a copy.

        Raises:
            DeviceLostError: the device failed, and only a new process can use it again.
            BackendError: the library refuses to run, or CUDA is out of memory.
        """
        staging = self._staging.get()
        try:
            self._cuda.enter()
            staging.write(feeds)
            with self._enqueueing:
                self._library.log.drain()  # later messages are about this batch
                self._enqueue(staging, self._contexts[batch_size])
            staging.done.sync()
            return staging.read(batch_size)
        except Exception as error:
            self._raise_failure(error, f"with {batch_size} images")
            raise
        finally:
            self._staging.put(staging)

    def close(self) -> None:
        """Release everything in reverse order. No batch may be in flight."""
        with contextlib.ExitStack() as stack:  # continues after a failure
            stack.callback(self._cuda.close)
            for buffer in self._memory.values():
                stack.callback(buffer.close, self._cuda.stream)
            while not self._staging.empty():
                stack.callback(self._staging.get().close)
            stack.callback(self._release_library)
            for context in self._contexts.values():
                stack.callback(context.close)
            self._cuda.enter()

    def _release_library(self) -> None:
        """Release the library's objects: contexts before the engine, and the engine before its runtime."""
        self._contexts.clear()
        self._engine = None
        self._runtime = None
        self._memory.clear()

    def _load(self, plan: bytes) -> None:
        library, spec = self._library, self._spec
        library.log.drain()
        self._runtime = library.trt.Runtime(library.logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise PlanError(
                f"{library.flavour.name} {library.version} cannot load the plan of {spec.graph} for {spec.target} "
                f"here: {library.log.drain()}; build it again on this machine"
            )
        names = {self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)}
        expected = {tensor.name for tensor in (*spec.inputs, spec.output)}
        if names != expected or self._engine.num_optimization_profiles != len(spec.profiles):
            raise PlanError(
                f"the plan of {spec.graph} has the tensors {', '.join(sorted(names))} and "
                f"{self._engine.num_optimization_profiles} profiles, its record says {', '.join(sorted(expected))} and "
                f"{len(spec.profiles)}; build it again"
            )

    def _allocate(self, max_batch_size: int) -> None:
        """Allocate buffers for the largest batch, and one activation memory, because only one batch runs at a time."""
        spec, cuda = self._spec, self._cuda
        for tensor in (*spec.inputs, spec.output):
            self._memory[tensor.name] = cuda.device_memory(byte_size(tensor, max_batch_size))
        addresses = {name: int(buffer.handle) for name, buffer in self._memory.items()}
        activation_bytes = max(context.activation_bytes for context in self._contexts.values())
        activation = 0
        if activation_bytes:
            # Tensor names never begin with a slash.
            self._memory["/activation"] = cuda.device_memory(activation_bytes)
            activation = int(self._memory["/activation"].handle)
        for context in self._contexts.values():
            context.bind(addresses, activation, activation_bytes)
        for _ in range(IN_FLIGHT):
            self._staging.put(Staging(cuda, spec, max_batch_size))

    def _enqueue(self, staging: Staging, context: BatchContext) -> None:
        cuda, spec, size = self._cuda, self._spec, context.batch_size
        for tensor in spec.inputs:
            cuda.copy(self._memory[tensor.name], staging.inputs[tensor.name], byte_size(tensor, size))
        context.enqueue()
        cuda.copy(staging.output, self._memory[spec.output.name], byte_size(spec.output, size))
        cuda.stream.record(staging.done)

    def _raise_failure(self, error: Exception, when: str) -> None:
        """Wait until the batch's memory is unused, then raise DeviceLostError if the device is lost, or a BackendError.

        Returns for errors of our own. A CUDA error of the device is sticky: every later call returns it again (CUDA
        Driver API, CUresult). So if synchronizing the stream fails, the process has lost its device.
        """
        try:
            self._cuda.synchronize()
        except Exception as again:
            raise DeviceLostError(
                f"the GPU failed and this process can no longer use it ({again}); restart the process"
            ) from error
        if not isinstance(error, NonesuchError):
            raise BackendError(f"CUDA failed {when}: {error}; {self._library.log.drain()}") from error


def byte_size(tensor: TensorSpec, batch_size: int) -> int:
    """The size in bytes of a tensor for a batch."""
    return batch_size * int(np.prod(tensor.shape, dtype=np.int64)) * np.dtype(tensor.dtype).itemsize


class Staging:
    """Pinned buffers for the largest batch, used by one batch at a time.

    Attributes:
        inputs: the buffers of the inputs, by name.
        output: the buffer of the images.
        done: the event after which the images are in `output`.
    """

    def __init__(self, cuda: Cuda, spec: BuildSpec, max_batch_size: int) -> None:
        self._spec = spec
        self.inputs = {tensor.name: cuda.pinned_memory(byte_size(tensor, max_batch_size)) for tensor in spec.inputs}
        self.output = cuda.pinned_memory(byte_size(spec.output, max_batch_size))
        self.done = cuda.event()

    def write(self, feeds: Mapping[str, NDArray[np.float32]]) -> None:
        """Copy the inputs of a batch, float32 [n, ...] by name, into the buffers."""
        for tensor in self._spec.inputs:
            array = feeds[tensor.name]
            view_of(self.inputs[tensor.name], array.shape, tensor.dtype)[...] = array

    def read(self, batch_size: int) -> NDArray[np.uint8]:
        """Copy the images of a batch, uint8 [n, H, W, C], because the next batch overwrites them."""
        output = self._spec.output
        images: NDArray[np.uint8] = view_of(self.output, (batch_size, *output.shape), output.dtype).copy()
        return images

    def close(self) -> None:
        """Release the memory; no batch may be in flight."""
        for buffer in (*self.inputs.values(), self.output):
            buffer.close()
        self.done.close()
