"""Runs a plan on one GPU: everything is allocated when it opens, and two batches are on their way at a time.

    host  write 1 | write 2 | wait 1 | read 1 | write 3 ...
    GPU             copy, run, copy 1 | copy, run, copy 2 | ...

All work is in one stream, so a batch's copies and its run are ordered behind those of the batch before it, and one set
of device buffers serves both; only the pinned memory is there twice. The host prepares a batch and takes the images of
another while the device works.
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
from .batch_profile import profile_of
from .build_spec import BuildSpec
from .cuda import Cuda
from .library import Library
from .staging import Staging, byte_size

IN_FLIGHT = 2


class PlanRuntime:
    """One plan, opened on one device; `run` may be called by `IN_FLIGHT` threads.

    Args:
        library: that built the plan.
        plan: its bytes, which somebody has checked.
        spec: what the plan was built from.
        ordinal: of the GPU.
        batch_sizes: the sizes that will be run; each is inside a profile of the plan.
        cuda_graphs: launch each size as a CUDA graph.

    Raises:
        BackendUnavailableError: cuda-core is not installed.
        PlanError: the plan is not for this GPU or version, or not what the spec says.
        InvalidRequestError: a batch size is outside every profile.
        BackendError: the library refuses; the message has its reason.
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
        profiles = {size: profile_of(spec.profiles, size) for size in batch_sizes}
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
                    self._settle(error, "while the plan was opened")
                raise
            finally:
                with contextlib.suppress(Exception):  # what failed first says more
                    self.close()

    def run(self, feeds: Mapping[str, NDArray[np.float32]], batch_size: int) -> NDArray[np.uint8]:
        """Render one batch; blocks until its images are here.

        Args:
            feeds: float32 [batch_size, ...] by the names of the inputs.
            batch_size: one of the sizes that the runtime was opened for.

        Returns:
            uint8 [batch_size, H, W, C], the caller's own.

        Raises:
            DeviceLostError: the device failed in a way that only a new process can mend.
            BackendError: the library refuses to run, or CUDA has no memory.
        """
        staging = self._staging.get()
        try:
            self._cuda.enter()
            staging.write(feeds)
            with self._enqueueing:
                self._library.log.drain()  # what it says from here on is about this batch
                self._enqueue(staging, self._contexts[batch_size])
            staging.done.sync()
            return staging.read(batch_size)
        except Exception as error:
            self._settle(error, f"with {batch_size} images")
            raise
        finally:
            self._staging.put(staging)

    def close(self) -> None:
        """Give everything back, the later first. No run may be on its way."""
        with contextlib.ExitStack() as last_first:  # all of it goes, also after one has failed
            last_first.callback(self._cuda.close)
            for buffer in self._memory.values():
                last_first.callback(buffer.close, self._cuda.stream)
            while not self._staging.empty():
                last_first.callback(self._staging.get().close)
            last_first.callback(self._forget)
            for context in self._contexts.values():
                last_first.callback(context.close)
            self._cuda.enter()

    def _forget(self) -> None:
        """Let go of the library's objects: contexts before the engine, and the engine before its runtime."""
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
        """Buffers for the largest batch, and one piece of memory for activations: only one batch runs at a time."""
        spec, cuda = self._spec, self._cuda
        for tensor in (*spec.inputs, spec.output):
            self._memory[tensor.name] = cuda.device_memory(byte_size(tensor, max_batch_size))
        addresses = {name: int(buffer.handle) for name, buffer in self._memory.items()}
        most = max(context.activation_bytes for context in self._contexts.values())
        activation = 0
        if most:
            self._memory["/activation"] = cuda.device_memory(most)  # no name of a tensor begins with a slash
            activation = int(self._memory["/activation"].handle)
        for context in self._contexts.values():
            context.bind(addresses, activation, most)
        for _ in range(IN_FLIGHT):
            self._staging.put(Staging(cuda, spec, max_batch_size))

    def _enqueue(self, staging: Staging, context: BatchContext) -> None:
        cuda, spec, size = self._cuda, self._spec, context.batch_size
        for tensor in spec.inputs:
            cuda.copy(self._memory[tensor.name], staging.inputs[tensor.name], byte_size(tensor, size))
        context.enqueue()
        cuda.copy(staging.output, self._memory[spec.output.name], byte_size(spec.output, size))
        cuda.stream.record(staging.done)

    def _settle(self, error: Exception, when: str) -> None:
        """After a failure: wait until nothing uses the batch's memory, and find out whether the device still works.

        A CUDA error that came from the device stays: every later call gives it again (CUDA Driver API, CUresult). So a
        stream that cannot even be waited for says that the process has lost its device.
        """
        try:
            self._cuda.synchronize()
        except Exception as again:
            raise DeviceLostError(
                f"the GPU failed and this process cannot use it any more ({again}); start the process again"
            ) from error
        if not isinstance(error, NonesuchError):
            raise BackendError(f"CUDA failed {when}: {error}; {self._library.log.drain()}") from error
