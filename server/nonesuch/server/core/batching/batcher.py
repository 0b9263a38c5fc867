"""The dynamic batcher: the shell around `decide`, which looks at the queue at every change and does what it says.

    admit -> QueuedImage (or an error at once) -> render(batch of one) -> batch -> device -> Rendered

It knows nothing of gRPC, seeds or image formats. Work-conserving: while the device is busy the queue fills, and the
next batch is what has gathered. An image whose caller is gone leaves the queue by itself, one whose deadline cannot be
met is answered without costing compute, and an admitted one is always answered, also while the batcher drains or when
the device is lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from nonesuch.engine.errors import DeviceLostError
from nonesuch.engine.session import Session

from .decision import Decision, decide
from .device_runs import DeviceRuns
from .latency_model import LatencyModel
from .queue_state import BatcherLimits, DeviceState, QueueState
from .queued_image import QueuedImage, Rendered, Stage
from .request_queue import Priority

__all__ = ["Batcher", "BatcherLimits", "QueuedImage", "Rendered"]


@dataclass(eq=False)
class Batcher:
    """Batches for one session; everything but the runs themselves happens on the event loop.

    Attributes:
        session: what runs the batches; open.
        limits: the bounds.
        model: what runs take; it learns from every run.
        on_lost: called once if the device hangs or is gone.
        on_run: called with the number of images of each run that gave some, and the milliseconds that it took.
        queue: who asks and who waits.
    """

    session: Session
    limits: BatcherLimits
    model: LatencyModel = field(default_factory=LatencyModel)
    on_lost: Callable[[DeviceLostError], None] = lambda error: None
    on_run: Callable[[int, float], None] = lambda images, run_ms: None

    def __post_init__(self) -> None:
        self._device = DeviceRuns(self.session, self.limits.run_timeout_s, self.model, self.on_run, self._lose)
        sizes = self.session.batch_sizes
        allowed = tuple(size for size in sizes if size <= self.limits.most) or sizes[:1]
        self.queue = QueueState(self.limits, allowed, self.model)
        self._rooms: dict[QueuedImage, asyncio.Future[None]] = {}  # of those who keep asking
        self._next_look: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Images that are admitted and not yet in a batch."""
        return self.queue.waiting

    @property
    def most_streamed(self) -> int:
        """Places that streams of one class may have."""
        return self.queue.places.most_streamed

    @property
    def in_flight(self) -> int:
        """Batches that the session has and has not answered."""
        return self._device.in_flight

    @property
    def target_size(self) -> int:
        """Where a batch stops growing, by what runs take now."""
        return self.queue.target_size

    @property
    def lost(self) -> DeviceLostError | None:
        """Why the device cannot be used any more, if it cannot."""
        return self._device.lost

    def admit(self, deadline: float | None = None, priority: Priority = Priority.INTERACTIVE) -> QueuedImage:
        """Take a place in the queue now, or be refused now.

        Args:
            deadline: `time.monotonic()` after which the image is of no use; None is never.
            priority: the class of the request.

        Raises:
            OverloadedError: as many images wait as may, or the wait would be too long.
            DeadlineError: the deadline has passed already, or an idle device could not meet it.
            UnavailableError: the batcher drains, or the device is lost.
        """
        image = self._ask(deadline, priority, streamed=False)
        for failed, error in self._look(run=False).failed:
            if failed is image:
                raise error
        return image

    async def admit_when_free(self, deadline: float | None = None, priority: Priority = Priority.BULK) -> QueuedImage:
        """Like `admit`, but wait for room instead of being refused: for the later images of an accepted stream.

        Raises:
            UnavailableError: the device is lost.
        """
        image = self._ask(deadline, priority, streamed=True)
        room = self._rooms[image] = asyncio.get_running_loop().create_future()
        try:
            self._look(run=False)
            await room
        except BaseException:
            image.leave()
            raise
        finally:
            del self._rooms[image]
        return image

    def wait_ms(self, priority: Priority) -> float:
        """How long a request that is admitted now would wait for its run to start, by prediction."""
        return self.queue.wait_ms(priority, self._device_state())

    async def close(self) -> None:
        """Refuse new images and finish all that were admitted."""
        self.queue.closing = True
        self._look_soon()
        while self.waiting or self.in_flight:
            self._idle.clear()
            await self._idle.wait()
        for handle in (self._next_look, self._timer):
            if handle is not None:
                handle.cancel()

    def _ask(self, deadline: float | None, priority: Priority, *, streamed: bool) -> QueuedImage:
        image = QueuedImage(priority, deadline, streamed, self._moved)
        self.queue.move(image, Stage.ASKING)
        return image

    def _moved(self, image: QueuedImage, stage: Stage) -> None:
        """The caller of an image has its inputs ready, or needs it no more."""
        self.queue.move(image, stage)
        self._look_soon()

    def _look_soon(self) -> None:
        """Look at the queue in the next step of the loop, once for all that has changed by then."""
        if self._next_look is None:
            self._next_look = asyncio.get_running_loop().call_soon(self._look_and_run)

    def _look_and_run(self) -> None:
        self._next_look = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while (decision := self._look()).batch:
            self._device.start(decision.batch).add_done_callback(self._run_ended)
        if decision.look_again_s is not None:
            self._timer = asyncio.get_running_loop().call_later(decision.look_again_s, self._look_soon)
        if not self.waiting and not self.in_flight:
            self._idle.set()

    def _look(self, *, run: bool = True) -> Decision:
        """Decide, and tell everybody whom the decision is about."""
        decision = decide(self.queue, self._device_state(), time.monotonic(), run=run)
        for image in decision.admitted:
            if (room := self._rooms.get(image)) is not None and not room.done():
                room.set_result(None)
        for image, error in decision.failed:
            image.fail(error)
            if (room := self._rooms.get(image)) is not None and not room.done():
                room.set_exception(error)
        return decision

    def _device_state(self) -> DeviceState:
        device = self._device
        return DeviceState(device.has_room, device.in_flight, device.idle_s, device.remaining_ms(), device.lost)

    def _run_ended(self, _: object) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
        self._look_and_run()

    def _lose(self, error: DeviceLostError) -> None:
        """Answer everybody who waits, once, and take nobody in."""
        self._look(run=False)
        self._look_soon()
        self.on_lost(error)
