"""The CUDA objects that a runtime needs: a device, one stream, device and pinned memory. Made by cuda-core, no torch.

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
    """Make a device current on the calling thread, as CUDA keeps it for each thread; cuda-core's `Device`.

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
    """One device and one stream of our own on it; all work of a session is ordered by that stream.

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
        """The stream as TensorRT takes it."""
        return int(self.stream.handle)

    def enter(self) -> None:
        """Make the device current on the calling thread; CUDA keeps one context a thread."""
        self.device.set_current()

    def device_memory(self, size: int) -> Any:
        """A `Buffer` of so many bytes on the device."""
        return self.device.allocate(size, stream=self.stream)

    def pinned_memory(self, size: int) -> Any:
        """A `Buffer` of so many bytes of the host's memory that the device reads and writes directly."""
        return self._pinned.allocate(size)

    def event(self) -> Any:
        """An event; a thread that waits for it sleeps."""
        return self.device.create_event(self._core.EventOptions(blocking_sync=True))

    def copy(self, target: Any, source: Any, size: int) -> None:
        """Copy the first `size` bytes of a buffer into another, in the order of the stream."""
        self._part(target, size).copy_from(self._part(source, size), stream=self.stream)

    def capture(self) -> Any:
        """A graph builder of the stream, which records what is put into the stream from now on."""
        builder = self.stream.create_graph_builder()
        return builder.begin_building("thread_local")

    def synchronize(self) -> None:
        """Wait for everything in the stream; raises what went wrong in it."""
        self.stream.sync()

    def close(self) -> None:
        """Give the stream back."""
        self.stream.close()

    def _part(self, buffer: Any, size: int) -> Any:
        return self._core.Buffer.from_handle(int(buffer.handle), size, owner=buffer)


def view_of(buffer: Any, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """An array over the start of a pinned buffer; valid as long as the buffer is open."""
    # ctypes reads the address itself: no copy, and the host's view has no stream to wait for.
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    memory = (ctypes.c_ubyte * size).from_address(int(buffer.handle))
    array: NDArray[Any] = np.frombuffer(memoryview(memory), dtype=np.dtype(dtype)).reshape(shape)
    return array
