"""The CUDA objects of a runtime: a device, one stream, device and pinned memory. Uses cuda-core, not torch.

Source of the calls: cuda-core's documentation, modules `cuda.core` and `cuda.core.graph`.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError
from ..runtime_import import import_runtime


def select_device(ordinal: int) -> Any:
    """Make a device current on the calling thread, and return cuda-core's `Device`; CUDA tracks it per thread.

    Raises:
        BackendUnavailableError: cuda-core is not installed.
        BackendError: the device cannot be used.
    """
    core = import_runtime("cuda.core", "cuda")
    try:
        device = core.Device(ordinal)
        device.set_current()
    except Exception as error:
        raise BackendError(f"CUDA does not start on cuda:{ordinal}: {error}") from error
    return device


class Cuda:
    """One device and one stream on it, which orders all work of a session.

    Raises:
        BackendUnavailableError: cuda-core is not installed.
        BackendError: the device cannot be used.
    """

    def __init__(self, ordinal: int) -> None:
        self.device = select_device(ordinal)
        self._core = import_runtime("cuda.core", "cuda")
        self.stream = self.device.create_stream()
        self._pinned = self._core.LegacyPinnedMemoryResource()

    @property
    def handle(self) -> int:
        """The handle of the stream, for TensorRT."""
        return int(self.stream.handle)

    def enter(self) -> None:
        """Make the device current on the calling thread; CUDA has one context per thread."""
        self.device.set_current()

    def device_memory(self, size: int) -> Any:
        """Allocate a `Buffer` of `size` bytes on the device."""
        return self.device.allocate(size, stream=self.stream)

    def pinned_memory(self, size: int) -> Any:
        """Allocate a `Buffer` of `size` bytes of host memory that the device reads and writes directly."""
        return self._pinned.allocate(size)

    def event(self) -> Any:
        """An event; threads that wait for it sleep."""
        return self.device.create_event(self._core.EventOptions(blocking_sync=True))

    def copy(self, target: Any, source: Any, size: int) -> None:
        """Enqueue a copy of the first `size` bytes of a buffer into another."""
        self._part(target, size).copy_from(self._part(source, size), stream=self.stream)

    def capture(self) -> Any:
        """Begin to record the work of the stream in a graph builder."""
        builder = self.stream.create_graph_builder()
        return builder.begin_building("thread_local")

    def synchronize(self) -> None:
        """Wait for all work in the stream; raises its errors."""
        self.stream.sync()

    def close(self) -> None:
        """Release the stream."""
        self.stream.close()

    def _part(self, buffer: Any, size: int) -> Any:
        return self._core.Buffer.from_handle(int(buffer.handle), size, owner=buffer)


def view_of(buffer: Any, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """An array over the start of a pinned buffer; valid while the buffer is open."""
    # ctypes maps the address without a copy, and without waiting for a stream.
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    memory = (ctypes.c_ubyte * size).from_address(int(buffer.handle))
    array: NDArray[Any] = np.frombuffer(memoryview(memory), dtype=np.dtype(dtype)).reshape(shape)
    return array
