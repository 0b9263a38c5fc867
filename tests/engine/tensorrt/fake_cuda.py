"""A FAKE of the classes of cuda-core that the runtime uses: a device whose memory is host memory.

It does not show that anything runs on a GPU. It shows the order of calls: work in a stream only runs when a caller
waits, so an image that is read too early is wrong. `test_api_names.py` checks every name here against cuda-core.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class FakeCudaError(Exception):
    """As cuda-core's CUDAError: not a NonesuchError."""


@dataclass
class World:
    """The state of the fake device, and its errors."""

    live: dict[str, int] = field(default_factory=dict)  # open objects by kind
    broken: str = ""  # if set: a sticky error, raised by every later call
    next_error: str = ""  # if set: the next operation fails, once
    graphs: int = 0  # launches of graphs
    memory: dict[int, Any] = field(default_factory=dict)

    def opened(self, kind: str) -> None:
        self.live[kind] = self.live.get(kind, 0) + 1

    def closed(self, kind: str) -> None:
        self.live[kind] -= 1

    def check(self) -> None:
        if self.broken:
            raise FakeCudaError(self.broken)
        if self.next_error:
            error, self.next_error = self.next_error, ""
            raise FakeCudaError(error)


class Stream:
    """Work in order, which runs when a caller waits for it."""

    _by_handle: dict[int, Stream] = {}  # noqa: RUF012  # as in CUDA: TensorRT only gets the handle

    def __init__(self, world: World) -> None:
        self._world, self._work = world, list[Callable[[], None]]()
        self._device = threading.Lock()  # one operation at a time, for any waiting thread
        self._recording: list[Callable[[], None]] | None = None
        self.handle = 4096 + len(self._by_handle)
        self._by_handle[self.handle] = self
        world.opened("stream")

    def _put(self, work: Callable[[], None]) -> None:
        (self._work if self._recording is None else self._recording).append(work)

    def _run(self) -> None:
        with self._device:
            self._world.check()
            while self._work:
                self._work.pop(0)()

    def record(self, event: Event) -> Event:
        event._stream = self
        return event

    def sync(self) -> None:
        if self._recording is not None:
            raise FakeCudaError("a stream that is being captured cannot be waited for")
        self._run()

    def create_graph_builder(self) -> GraphBuilder:
        return GraphBuilder(self)

    def close(self) -> None:
        self._world.closed("stream")


class Event:
    """Waits for the stream that recorded it."""

    def __init__(self, world: World) -> None:
        self._world, self._stream = world, None
        world.opened("event")

    _stream: Stream | None

    def sync(self) -> None:
        assert self._stream is not None, "an event that was never recorded"
        self._stream._run()

    def close(self) -> None:
        self._world.closed("event")


class Graph:
    """Recorded work."""

    def __init__(self, world: World, work: list[Callable[[], None]]) -> None:
        self._world, self._work = world, work
        world.opened("graph")

    def launch(self, stream: Stream) -> None:
        self._world.graphs += 1
        for work in self._work:
            stream._put(work)

    def close(self) -> None:
        self._world.closed("graph")


class GraphBuilder:
    """Records the work of its stream."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._work: list[Callable[[], None]] = []

    def begin_building(self, mode: str) -> GraphBuilder:
        assert mode in {"global", "thread_local", "relaxed"}
        assert not self.stream._work, "work before a capture must be waited for"
        self.stream._recording = self._work
        return self

    def end_building(self) -> GraphBuilder:
        if not self._work:
            raise RuntimeError("the capture was invalidated")  # as cuda-core after a failed call in the capture
        self.stream._recording = None
        return self

    def complete(self) -> Graph:
        return Graph(self.stream._world, self._work)

    def close(self) -> None:
        self.stream._recording = None


class Buffer:
    """Memory by its address."""

    def __init__(self, handle: int, size: int, close: Callable[[], None] | None = None) -> None:
        self.handle, self.size, self._close = handle, size, close

    @classmethod
    def from_handle(cls, ptr: int, size: int, owner: Buffer) -> Buffer:
        assert size <= owner.size, "a view beyond its buffer"
        return cls(ptr, size)

    def copy_from(self, src: Buffer, *, stream: Stream) -> None:
        assert src.size == self.size
        target, source, size = self.handle, src.handle, self.size

        def copy() -> None:
            ctypes.memmove(target, source, size)

        stream._put(copy)

    def close(self, stream: Stream | None = None) -> None:
        if self._close is not None:
            self._close()


@dataclass
class EventOptions:
    """As cuda-core's."""

    blocking_sync: bool = False


class FakeCore:
    """The FAKE module `cuda.core`."""

    def __init__(self) -> None:
        self.world = world = World()
        self.Buffer, self.EventOptions = Buffer, EventOptions

        def allocate(kind: str, size: int) -> Buffer:
            world.check()
            memory = (ctypes.c_ubyte * size)()
            ctypes.memset(memory, 0xA5, size)  # unwritten memory is noise, as on a device
            address = ctypes.addressof(memory)
            world.memory[address] = memory
            world.opened(kind)

            def close() -> None:
                world.closed(kind)
                del world.memory[address]

            return Buffer(address, size, close)

        class Device:
            def __init__(self, device_id: int) -> None:
                self.device_id = device_id

            def set_current(self) -> None:
                if world.broken:
                    raise FakeCudaError(world.broken)

            def create_stream(self) -> Stream:
                return Stream(world)

            def create_event(self, options: EventOptions) -> Event:
                assert options.blocking_sync, "a thread that waits must sleep"
                return Event(world)

            def allocate(self, size: int, *, stream: Stream) -> Buffer:
                return allocate("device memory", size)

        class LegacyPinnedMemoryResource:
            def allocate(self, size: int) -> Buffer:
                return allocate("pinned memory", size)

        self.Device, self.LegacyPinnedMemoryResource = Device, LegacyPinnedMemoryResource
