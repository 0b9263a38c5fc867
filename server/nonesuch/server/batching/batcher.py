"""The dynamic batcher: a bounded queue in front of one session. It knows nothing of gRPC, seeds or image formats.

    admit -> Ticket (or an error at once) -> render(batch of one) -> queue -> batch -> device -> Rendered

Work-conserving: while the device is busy the queue fills, and the next batch is what has gathered. An entry whose
caller is gone leaves the queue by itself, one whose deadline cannot be met is answered without costing compute, and an
admitted ticket is always answered, also while the batcher drains or when the device is lost.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from nonesuch.engine.errors import DeadlineError, DeviceLostError, OverloadedError
from nonesuch.engine.session import BatchResult, Session

from ..refusals import device_lost, shutting_down
from .batch_planner import BatchPlanner
from .device_runs import DeviceRuns, Rendered, Request
from .latency_model import LatencyModel
from .places import Places
from .request_queue import Priority, RequestQueue
from .ticket import Ticket

__all__ = ["Batcher", "BatcherLimits", "Rendered", "Ticket"]

_OF = {Priority.INTERACTIVE: "", Priority.VISITOR: " for visitors", Priority.BULK: " of bulk"}
_PROBE_S = 5.0
"""After so long without a run, an idle device is tried whatever the prediction says: it may be out of date."""


@dataclass(frozen=True)
class BatcherLimits:
    """The bounds of a batcher."""

    most: int  # images in a batch at most: the largest size that was warmed up
    queue_limit: int  # tickets that may wait
    min_gain: float = 0.1  # a batch grows only while twice the size saves this share of the time per image
    queue_delay_ms: float = 0.0  # how long an incomplete batch may wait while the device is idle
    max_wait_ms: float = math.inf  # a ticket that would have to wait longer, by prediction, is refused
    run_timeout_s: float = math.inf  # a run that takes longer means that the device hangs


@dataclass(eq=False)
class Batcher:
    """Batches for one session; everything but the runs themselves happens on the event loop.

    Attributes:
        session: what runs the batches; open.
        limits: the bounds.
        model: what runs take; it learns from every run.
        on_lost: called once if the device hangs or is gone.
        on_run: called with the result and the number of images of each run that gave some.
    """

    session: Session
    limits: BatcherLimits
    model: LatencyModel = field(default_factory=LatencyModel)
    on_lost: Callable[[DeviceLostError], None] = lambda error: None
    on_run: Callable[[BatchResult, int], None] = lambda result, images: None

    def __post_init__(self) -> None:
        self._device = DeviceRuns(self.session, self.limits.run_timeout_s, self.model, self._ran, self._lose)
        self._queue: RequestQueue[Request] = RequestQueue()
        sizes = self.session.batch_sizes
        allowed = tuple(size for size in sizes if size <= self.limits.most) or sizes[:1]
        self._planner = BatchPlanner(self._queue, self.model, allowed, self.limits.min_gain)
        self._tickets: dict[Request, Ticket] = {}
        self._places = Places(self.limits.queue_limit)
        self._closing = False
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        # Streams of a class are served in the order in which they came, and wait for none of another class.
        self._lines = {priority: asyncio.Lock() for priority in Priority}
        self._idle = asyncio.Event()
        self._dispatcher = asyncio.get_running_loop().create_task(self._dispatch())

    @property
    def waiting(self) -> int:
        """Tickets that are admitted and not yet in a batch."""
        return self._places.taken

    @property
    def most_streamed(self) -> int:
        """Tickets that streams of one class may have."""
        return self._places.most_streamed

    @property
    def in_flight(self) -> int:
        """Batches that the session has and has not answered."""
        return self._device.in_flight

    @property
    def target_size(self) -> int:
        """Where a batch stops growing, by what runs take now."""
        return self._planner.target_size

    @property
    def after_ms(self) -> float:
        """What an image takes behind its run, encoding above all; counted when a deadline is judged."""
        return self._planner.after_ms

    @after_ms.setter
    def after_ms(self, after_ms: float) -> None:
        self._planner.after_ms = after_ms

    @property
    def lost(self) -> DeviceLostError | None:
        """Why the device cannot be used any more, if it cannot."""
        return self._device.lost

    def admit(self, deadline: float | None = None, priority: Priority = Priority.INTERACTIVE) -> Ticket:
        """Take a place in the queue now, or be refused now.

        Args:
            deadline: `time.monotonic()` after which the image is of no use; None is never.
            priority: the class of the request.

        Raises:
            OverloadedError: as many tickets wait as may, or the wait would be too long.
            DeadlineError: the deadline has passed already, or an idle device could not meet it.
            UnavailableError: the batcher drains, or the device is lost.
        """
        if self._closing:
            raise shutting_down()
        self._check_device()
        waiting = self.waiting
        wait_ms = self.wait_ms(priority)
        if not self._places.has_room(priority):
            raise _overloaded(f"the queue is full: {waiting} images wait, and no more{_OF[priority]} may", wait_ms)
        if wait_ms > self.limits.max_wait_ms:
            raise _overloaded(f"the wait would be {wait_ms:.0f} ms, and may be {self.limits.max_wait_ms:g}", wait_ms)
        if deadline is not None:
            self._check_deadline(deadline, wait_ms, priority)
        return self._take_place(deadline, priority)

    async def admit_when_free(self, deadline: float | None = None, priority: Priority = Priority.BULK) -> Ticket:
        """Like `admit`, but wait for room instead of being refused: for the later images of an accepted stream.

        Streams of a class wait in line. It takes places also while the batcher drains, because the stream that asks
        was accepted before.

        Raises:
            UnavailableError: the device is lost.
        """
        async with self._lines[priority]:
            while not self._places.has_room(priority, streamed=True) and self.lost is None:
                self._room.clear()
                await self._room.wait()
            self._check_device()
            return self._take_place(deadline, priority, streamed=True)

    def wait_ms(self, priority: Priority) -> float:
        """How long a request that is admitted now would wait for its run to start, by prediction."""
        return self._device.remaining_ms() + self._planner.wait_ms(self._places.ahead(priority))

    async def close(self) -> None:
        """Refuse new tickets and finish all that were admitted."""
        self._closing = True
        self._wake.set()
        while self.waiting or self.in_flight:
            self._idle.clear()
            await self._idle.wait()
        self._dispatcher.cancel()
        await asyncio.gather(self._dispatcher, return_exceptions=True)

    def _check_device(self) -> None:
        if self.lost is not None:
            raise device_lost(self.lost)

    def _check_deadline(self, deadline: float, wait_ms: float, priority: Priority) -> None:
        remaining_ms = (deadline - time.monotonic()) * 1e3
        if remaining_ms <= 0:
            raise DeadlineError("the deadline had passed when the request arrived; give the call more time")
        alone_ms = self._planner.run_ms(1) + self.after_ms
        if not self.waiting and not self.in_flight:
            if alone_ms > remaining_ms and self._device.idle_s < _PROBE_S:
                raise DeadlineError(
                    f"an image takes some {alone_ms:.0f} ms here, and the deadline is in {remaining_ms:.0f}; "
                    "give the call more time"
                )
            return
        ahead = self._places.ahead(priority) % self.target_size
        needed_ms = self._planner.answer_ms(wait_ms + self._planner.run_ms(ahead + 1))
        if needed_ms > remaining_ms:
            raise _overloaded(
                f"the answer would take some {needed_ms:.0f} ms, and the deadline is in {remaining_ms:.0f}",
                max(wait_ms, needed_ms - remaining_ms),
            )

    def _take_place(self, deadline: float | None, priority: Priority, *, streamed: bool = False) -> Ticket:
        self._places.take(priority, streamed=streamed)
        return Ticket(self, deadline, priority, streamed=streamed)

    def enqueue(self, request: Request, ticket: Ticket) -> None:
        """As `ticket.Line`."""
        if self.lost is not None:
            ticket.leave()
        self._check_device()
        self._tickets[request] = ticket
        self._queue.add(request, ticket.priority)
        self._wake.set()

    def forget(self, request: Request) -> None:
        """As `ticket.Line`."""
        self._queue.remove(request)
        ticket = self._tickets.pop(request, None)
        if ticket is not None:
            ticket.leave()

    def left(self, ticket: Ticket) -> None:
        """As `ticket.Line`."""
        self._places.leave(ticket.priority, streamed=ticket.streamed)
        self._room.set()
        self._idle.set()

    def _lose(self, error: DeviceLostError) -> None:
        """Answer everybody who waits, once, and take nobody in."""
        for request in list(self._queue):
            request.fail(device_lost(error))
            self.forget(request)
        self._room.set()
        self._idle.set()
        self.on_lost(error)

    async def _dispatch(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue and self.lost is None and self._device.has_room:
                await self._gather_company()
                requests = self._take_batch()
                if requests:
                    self._device.start(requests, self._done)

    def _ran(self, result: BatchResult, images: int, taken_ms: float) -> None:
        # With the way to the device's thread and back: that is what the next batch waits for.
        self.model.observe(result.batch_size, taken_ms)
        self.on_run(result, images)

    def _done(self) -> None:
        self._wake.set()
        self._idle.set()

    async def _gather_company(self) -> None:
        """Wait up to `queue_delay_ms`, from the first request's admission, for a batch of the target size."""
        if self.limits.queue_delay_ms <= 0 or self._closing:
            return
        until = self._queue.oldest().admitted + self.limits.queue_delay_ms / 1e3
        while self._queue and len(self._queue) < self.target_size and not self._closing:
            remaining = until - time.monotonic()
            if remaining <= 0:
                return
            self._wake.clear()
            try:
                async with asyncio.timeout(remaining):
                    await self._wake.wait()
            except TimeoutError:
                return

    def _take_batch(self) -> list[Request]:
        """The requests of the next batch, out of the queue; those that cannot be in time are answered."""
        # A prediction may be wrong where nothing has run for a while.
        batch = self._planner.next_batch(self._drop, trust=self._device.idle_s < _PROBE_S)
        self._queue.taken(batch)
        for request in batch:
            self.forget(request)
        return batch

    def _drop(self, late: list[Request]) -> None:
        for request in late:
            waited_ms = (time.monotonic() - request.admitted) * 1e3
            request.fail(
                DeadlineError(f"the deadline passed after {waited_ms:.0f} ms in the queue, or would during the run")
            )
            self.forget(request)


def _overloaded(problem: str, wait_ms: float) -> OverloadedError:
    retry_after_ms = max(1, round(wait_ms))
    return OverloadedError(f"{problem}; try again in {retry_after_ms} ms", retry_after_ms=retry_after_ms)
