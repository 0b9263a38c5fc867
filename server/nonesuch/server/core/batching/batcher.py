"""The dynamic batcher: calls `decide` at every change of the queue and carries out the decision.

    admit -> QueuedImage (or an error at once) -> render(batch of one) -> batch -> device -> Rendered

It is independent of gRPC, seeds and image formats, and work-conserving: the next batch is what has gathered while the
device was busy. Cancelled images leave the queue, images whose deadline cannot be met fail before they use the device,
and every admitted image is answered, even during a drain or after the loss of the device.
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
    """The batches of one session; everything but the runs happens on the event loop.

    Attributes:
        session: runs the batches; open.
        limits: the limits.
        model: predicts run times, and learns from every run.
        on_lost: called once if the device hangs or is lost.
        on_run: called after each successful run with its number of images and its duration in milliseconds.
        queue: the images that ask for a place or wait.
    """

    session: Session
    limits: BatcherLimits
    model: LatencyModel = field(default_factory=LatencyModel)
    on_lost: Callable[[DeviceLostError], None] = lambda error: None
    on_run: Callable[[int, float], None] = lambda images, run_ms: None

    def __post_init__(self) -> None:
        self._device = DeviceRuns(
            self.session, self.limits.run_timeout_s, self.model, self.on_run, self._on_device_lost
        )
        sizes = self.session.batch_sizes
        allowed = tuple(size for size in sizes if size <= self.limits.most) or sizes[:1]
        self.queue = QueueState(self.limits, allowed, self.model)
        self._rooms: dict[QueuedImage, asyncio.Future[None]] = {}  # of images that wait for a place
        self._next_update: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Admitted images that are not in a batch yet."""
        return self.queue.waiting

    @property
    def max_streamed(self) -> int:
        """Max places for the streams of one priority."""
        return self.queue.places.max_streamed

    @property
    def in_flight(self) -> int:
        """Batches on the device."""
        return self._device.in_flight

    @property
    def target_size(self) -> int:
        """The size at which batches stop growing, by the current run times."""
        return self.queue.target_size

    @property
    def lost(self) -> DeviceLostError | None:
        """The error if the device is lost."""
        return self._device.lost

    def admit(self, deadline: float | None = None, priority: Priority = Priority.INTERACTIVE) -> QueuedImage:
        """Take a place in the queue, or raise at once.

        Args:
            deadline: `time.monotonic()` after which the image is no longer needed; None for no deadline.
            priority: the priority of the request.

        Raises:
            OverloadedError: the queue is full, or the wait would be too long.
            DeadlineError: the deadline has passed, or even an idle device could not meet it.
            UnavailableError: the batcher drains, or the device is lost.
        """
        image = self._new_image(deadline, priority, streamed=False)
        for failed, error in self._decide(run=False).failed:
            if failed is image:
                raise error
        return image

    async def admit_when_free(self, deadline: float | None = None, priority: Priority = Priority.BULK) -> QueuedImage:
        """Like `admit`, but wait for a place: for the later images of an accepted stream.

        Raises:
            UnavailableError: the device is lost.
        """
        image = self._new_image(deadline, priority, streamed=True)
        room = self._rooms[image] = asyncio.get_running_loop().create_future()
        try:
            self._decide(run=False)
            await room
        except BaseException:
            image.leave()
            raise
        finally:
            del self._rooms[image]
        return image

    def wait_ms(self, priority: Priority) -> float:
        """The predicted time until the run of a request that is admitted now."""
        return self.queue.wait_ms(priority, self._device_state())

    async def close(self) -> None:
        """Refuse new images and finish all admitted ones."""
        self.queue.closing = True
        self._schedule_update()
        while self.waiting or self.in_flight:
            self._idle.clear()
            await self._idle.wait()
        for handle in (self._next_update, self._timer):
            if handle is not None:
                handle.cancel()

    def _new_image(self, deadline: float | None, priority: Priority, *, streamed: bool) -> QueuedImage:
        image = QueuedImage(priority, deadline, streamed, self._on_stage_change)
        self.queue.move(image, Stage.ASKING)
        return image

    def _on_stage_change(self, image: QueuedImage, stage: Stage) -> None:
        """The inputs of an image are ready, or it is cancelled."""
        self.queue.move(image, stage)
        self._schedule_update()

    def _schedule_update(self) -> None:
        """Update in the next step of the event loop, once for all changes until then."""
        if self._next_update is None:
            self._next_update = asyncio.get_running_loop().call_soon(self._update)

    def _update(self) -> None:
        self._next_update = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while (decision := self._decide()).batch:
            self._device.start(decision.batch).add_done_callback(self._run_ended)
        if decision.next_update_s is not None:
            self._timer = asyncio.get_running_loop().call_later(decision.next_update_s, self._schedule_update)
        if not self.waiting and not self.in_flight:
            self._idle.set()

    def _decide(self, *, run: bool = True) -> Decision:
        """Decide, and notify the images that were admitted or failed."""
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
        if self._next_update is not None:
            self._next_update.cancel()
        self._update()

    def _on_device_lost(self, error: DeviceLostError) -> None:
        """Fail all waiting images, and refuse new ones."""
        self._decide(run=False)
        self._schedule_update()
        self.on_lost(error)
