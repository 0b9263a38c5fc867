"""The dynamic batcher: a bounded queue in front of one session. It knows nothing of gRPC, seeds or image formats.

    admit -> Ticket (or OverloadedError at once) -> render(batch of one) -> queue -> batch -> session -> Rendered

Work-conserving: while the device is busy the queue fills, and the next batch is what has gathered. An entry whose
caller is gone leaves the queue by itself, one whose deadline has passed is answered without costing compute, and an
admitted ticket is always answered, also while the batcher drains.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.errors import BackendError, DeadlineError, NonesuchError, OverloadedError, UnavailableError
from nonesuch.engine.session import Batch, BatchResult, Session

__all__ = ["Batcher", "BatcherLimits", "Rendered", "Ticket"]


@dataclass(frozen=True)
class BatcherLimits:
    """The bounds of a batcher."""

    target_size: int  # a batch stops growing here
    queue_limit: int  # tickets that may wait
    queue_delay_ms: float = 0.0  # how long an incomplete batch may wait while the device is idle
    image_ms: float = 100.0  # first guess of the time per image, for the hint when to come back

    @property
    def stream_limit(self) -> int:
        """Tickets that streams may have waiting, all together."""
        return max(1, self.queue_limit // 2)


@dataclass(frozen=True)
class Rendered:
    """One image uint8 [H, W, C] and what it took."""

    image: NDArray[np.uint8]
    batch_size: int
    padded_size: int
    queue_ms: float  # from admission until the batch was given to the session
    inference_ms: float


@dataclass(eq=False)
class _Entry:
    batch: Batch
    admitted: float
    deadline: float | None
    future: asyncio.Future[Rendered] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Ticket:
    """A place in the queue. Leaving the `with` block gives it back if it was not used."""

    def __init__(self, batcher: Batcher, deadline: float | None) -> None:
        self._batcher = batcher
        self._deadline = deadline
        self._admitted = time.monotonic()
        self._waiting = True

    async def render(self, batch: Batch) -> Rendered:
        """Render a batch of one image; a cancelled caller costs nothing and harms nobody.

        Raises:
            DeadlineError: the deadline passed before the image's batch was formed.
            BackendError: the run failed.
        """
        entry = _Entry(batch, self._admitted, self._deadline)
        self._batcher._enqueue(entry, self.leave)
        try:
            return await entry.future
        finally:
            self._batcher._forget(entry)

    def leave(self) -> None:
        """Give the place back if it is still held; a second call does nothing."""
        if self._waiting:
            self._waiting = False
            self._batcher._left()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


class Batcher:
    """Batches for one session; everything but the runs themselves happens on the event loop."""

    def __init__(self, session: Session, limits: BatcherLimits) -> None:
        self.limits = limits
        self._session = session
        self._queue: dict[_Entry, Callable[[], None]] = {}  # insertion-ordered; the value leaves the waiting room
        self._waiting = 0  # tickets admitted and not yet in a batch
        self._in_flight = 0
        self._image_ms = limits.image_ms
        self._closing = False
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._line = asyncio.Lock()  # its waiters are served in the order in which they came
        self._idle = asyncio.Event()
        self._runs: set[asyncio.Task[None]] = set()
        self._dispatcher = asyncio.get_running_loop().create_task(self._dispatch())

    @property
    def waiting(self) -> int:
        """Tickets that are admitted and not yet in a batch."""
        return self._waiting

    @property
    def in_flight(self) -> int:
        """Batches that the session has and has not answered."""
        return self._in_flight

    def admit(self, deadline: float | None = None) -> Ticket:
        """Take a place in the queue now, or be refused now.

        Args:
            deadline: `time.monotonic()` after which the image is of no use; None is never.

        Raises:
            OverloadedError: as many tickets wait as may.
            DeadlineError: the deadline has passed already.
            UnavailableError: the batcher drains.
        """
        if self._closing:
            raise UnavailableError("the server is shutting down; call another one, or this one after its restart")
        if deadline is not None and deadline <= time.monotonic():
            raise DeadlineError("the deadline had passed when the request arrived; give the call more time")
        if self._waiting >= self.limits.queue_limit:
            wait_ms = round(self._waiting * self._image_ms)
            raise OverloadedError(
                f"the queue is full: {self._waiting} images wait, and no more may; try again in {wait_ms} ms",
                retry_after_ms=max(1, wait_ms),
            )
        return self._take_place(deadline)

    async def admit_when_free(self, deadline: float | None = None) -> Ticket:
        """Like `admit`, but wait for room instead of being refused: for the later images of an accepted stream.

        Streams fill half of the queue at the most, so that they never shut out single images, and wait in line. It
        takes places also while the batcher drains, because the stream that asks was accepted before.
        """
        async with self._line:
            while self._waiting >= self.limits.stream_limit:
                self._room.clear()
                await self._room.wait()
            return self._take_place(deadline)

    async def close(self) -> None:
        """Refuse new tickets and finish all that were admitted."""
        self._closing = True
        self._wake.set()
        while self._waiting or self._in_flight:
            self._idle.clear()
            await self._idle.wait()
        self._dispatcher.cancel()
        await asyncio.gather(self._dispatcher, return_exceptions=True)

    def _take_place(self, deadline: float | None) -> Ticket:
        self._waiting += 1
        return Ticket(self, deadline)

    def _enqueue(self, entry: _Entry, leave: Callable[[], None]) -> None:
        self._queue[entry] = leave
        self._wake.set()

    def _forget(self, entry: _Entry) -> None:
        self._queue.pop(entry, None)

    def _left(self) -> None:
        self._waiting -= 1
        self._room.set()
        self._idle.set()

    async def _dispatch(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue and self._in_flight < self._session.max_in_flight:
                await self._gather_company()
                entries = self._take_batch()
                if entries:
                    self._start(entries)

    async def _gather_company(self) -> None:
        """Wait up to `queue_delay_ms`, from the oldest entry's admission, for a batch of the target size."""
        if self.limits.queue_delay_ms <= 0 or self._closing:
            return
        until = next(iter(self._queue)).admitted + self.limits.queue_delay_ms / 1e3
        while self._queue and len(self._queue) < self.limits.target_size and not self._closing:
            remaining = until - time.monotonic()
            if remaining <= 0:
                return
            self._wake.clear()
            try:
                async with asyncio.timeout(remaining):
                    await self._wake.wait()
            except TimeoutError:
                return

    def _take_batch(self) -> list[_Entry]:
        """The oldest entries that can still be of use, up to the target size."""
        now = time.monotonic()
        batch: list[_Entry] = []
        while self._queue and len(batch) < self.limits.target_size:
            entry = next(iter(self._queue))
            self._queue.pop(entry)()
            if entry.future.done():
                continue
            if entry.deadline is not None and entry.deadline <= now:
                waited_ms = (now - entry.admitted) * 1e3
                entry.future.set_exception(DeadlineError(f"the deadline passed after {waited_ms:.0f} ms in the queue"))
                continue
            batch.append(entry)
        return batch

    def _start(self, entries: list[_Entry]) -> None:
        self._in_flight += 1
        task = asyncio.get_running_loop().create_task(self._run(entries, time.monotonic()))
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)

    async def _run(self, entries: list[_Entry], started: float) -> None:
        try:
            batch = Batch.join([entry.batch for entry in entries])
            result = await asyncio.wrap_future(self._session.submit(batch))
            self._image_ms += 0.2 * (result.inference_ms / len(entries) - self._image_ms)
            self._deliver(entries, result, started)
        except Exception as error:
            failure = error if isinstance(error, NonesuchError) else BackendError(f"a batch failed: {error}")
            for entry in entries:
                if not entry.future.done():
                    entry.future.set_exception(failure)
        finally:
            self._in_flight -= 1
            self._wake.set()
            self._idle.set()

    def _deliver(self, entries: list[_Entry], result: BatchResult, started: float) -> None:
        for entry, image in zip(entries, result.images, strict=True):
            if not entry.future.done():
                queue_ms = (started - entry.admitted) * 1e3
                entry.future.set_result(Rendered(image, len(entries), result.batch_size, queue_ms, result.inference_ms))
