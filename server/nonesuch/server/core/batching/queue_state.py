"""All that is known when the queue is looked at: who asks, who waits, how much room there is, and what runs take.

Plain state: nothing here waits, runs or reads a clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from nonesuch.engine.errors import DeviceLostError

from .latency_model import LatencyModel
from .places import Places
from .queued_image import QueuedImage, Stage
from .request_queue import Priority, RequestQueue

__all__ = ["BatcherLimits", "DeviceState", "QueueState"]

_MIN_MARGIN = 0.1
"""Of the predicted time, when a deadline is judged: what is run is to be in time, behind a network too."""


@dataclass(frozen=True)
class BatcherLimits:
    """The bounds of a batcher."""

    most: int  # images in a batch at most: the largest size that was warmed up
    queue_limit: int  # images that may wait
    min_gain: float = 0.1  # a batch grows only while twice the size saves this share of the time per image
    queue_delay_ms: float = 0.0  # how long an incomplete batch may wait while the device is idle
    max_wait_ms: float = math.inf  # an image that would have to wait longer, by prediction, is refused
    run_timeout_s: float = math.inf  # a run that takes longer means that the device hangs


@dataclass(frozen=True)
class DeviceState:
    """A device at one moment."""

    has_room: bool  # it takes another batch now
    in_flight: int = 0  # batches that it has
    idle_s: float = 0.0  # since its last run
    remaining_ms: float = 0.0  # until it has done what it has, by prediction
    lost: DeviceLostError | None = None


@dataclass
class QueueState:
    """The queue of one session.

    Attributes:
        limits: the bounds.
        sizes: that a run may have, ascending; a batch between two of them is padded.
        model: what runs take.
        after_ms: what an image takes behind its run, encoding above all.
        closing: nobody new is admitted.
    """

    limits: BatcherLimits
    sizes: tuple[int, ...]
    model: LatencyModel
    after_ms: float = 0.0
    closing: bool = False
    asking: dict[QueuedImage, None] = field(default_factory=dict)  # in the order in which they came
    ready: RequestQueue[QueuedImage] = field(default_factory=RequestQueue)

    def __post_init__(self) -> None:
        self.places = Places(self.limits.queue_limit)
        self._target = (self.model, -1, 0)  # of that model after so many runs, the size

    @property
    def waiting(self) -> int:
        """Images that hold a place and are not yet in a batch."""
        return self.places.taken

    def move(self, image: QueuedImage, stage: Stage) -> None:
        """Put an image where its stage says, out of where it was."""
        held = image.stage in {Stage.PLACED, Stage.READY}
        holds = stage in {Stage.PLACED, Stage.READY}
        self.asking.pop(image, None)
        if image.stage is Stage.READY:
            self.ready.remove(image)
        if held and not holds:
            self.places.leave(image.priority, streamed=image.streamed)
        if holds and not held:
            self.places.take(image.priority, streamed=image.streamed)
        if stage is Stage.READY:
            self.ready.add(image, image.priority)
        if stage is Stage.ASKING:
            self.asking[image] = None
        image.stage = stage

    def waits(self) -> Iterator[QueuedImage]:
        """All who ask for a place or wait for a batch."""
        yield from self.asking
        yield from self.ready

    @property
    def target_size(self) -> int:
        """Where a batch stops growing, by what runs take now."""
        model, runs, size = self._target
        if model is not self.model or runs != self.model.runs:  # one look at the queue asks several times
            size = self.model.best_size(self.sizes, self.limits.min_gain)
            self._target = (self.model, self.model.runs, size)
        return size

    def run_ms(self, count: int) -> float:
        """The expected time of a run of so many images, padded as it will be."""
        return self.model.run_ms(next((size for size in self.sizes if size >= count), self.sizes[-1]))

    def answer_ms(self, run_ms: float) -> float:
        """From now to the answer, behind runs of so many milliseconds, on the safe side."""
        return run_ms * (1 + max(self.model.slack, _MIN_MARGIN)) + self.after_ms

    def wait_ms(self, priority: Priority, device: DeviceState) -> float:
        """How long an image of that class would wait for its run: whole batches of those ahead, the rest with it."""
        target = self.target_size
        return device.remaining_ms + self.places.ahead(priority) // target * self.run_ms(target)
