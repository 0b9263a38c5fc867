"""The state that `decide` works on: images that ask or wait, places, limits and predicted times.

Plain state: nothing here all_images, runs or reads a clock.
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

_MIN_MARGIN = 0.1
"""Min share added to a predicted time when it is compared with a deadline, which also covers the network."""


@dataclass(frozen=True)
class BatcherLimits:
    """The limits of a batcher."""

    most: int  # max images in a batch: the largest size that was warmed up
    queue_limit: int  # images that may wait
    min_gain: float = 0.1  # share of the time per image that doubling a batch must save
    queue_delay_ms: float = 0.0  # max wait of an incomplete batch while the device is idle
    max_wait_ms: float = math.inf  # an image with a longer predicted wait is refused
    run_timeout_s: float = math.inf  # a run that takes longer means that the device hangs


@dataclass(frozen=True)
class DeviceState:
    """The state of a device."""

    has_room: bool  # it accepts another batch
    in_flight: int = 0  # batches
    idle_s: float = 0.0  # since its last run
    remaining_ms: float = 0.0  # predicted time until it is idle
    lost: DeviceLostError | None = None


@dataclass
class QueueState:
    """The queue of one session.

    Attributes:
        limits: the limits.
        sizes: the possible sizes of a run, ascending; other batches are padded.
        model: predicts run times.
        after_ms: the time of an image after its run, mainly encoding.
        closing: whether new images are refused.
    """

    limits: BatcherLimits
    sizes: tuple[int, ...]
    model: LatencyModel
    after_ms: float = 0.0
    closing: bool = False
    asking: dict[QueuedImage, None] = field(default_factory=dict)  # in order of arrival
    ready: RequestQueue[QueuedImage] = field(default_factory=RequestQueue)

    def __post_init__(self) -> None:
        self.places = Places(self.limits.queue_limit)
        self._target = (self.model, -1, 0)  # cache: latency model, its number of runs, target size

    @property
    def waiting(self) -> int:
        """Images that hold a place and are not yet in a batch."""
        return self.places.taken

    def move(self, image: QueuedImage, stage: Stage) -> None:
        """Move an image to another stage, with its place and its queue entry."""
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

    def all_images(self) -> Iterator[QueuedImage]:
        """All images that ask for a place or wait for a batch."""
        yield from self.asking
        yield from self.ready

    @property
    def target_size(self) -> int:
        """The size at which batches stop growing, by the current run times."""
        model, runs, size = self._target
        if model is not self.model or runs != self.model.runs:  # one decision asks several times
            size = self.model.best_size(self.sizes, self.limits.min_gain)
            self._target = (self.model, self.model.runs, size)
        return size

    def run_ms(self, count: int) -> float:
        """The predicted time of a run of `count` images, padding included."""
        return self.model.run_ms(next((size for size in self.sizes if size >= count), self.sizes[-1]))

    def answer_ms(self, run_ms: float) -> float:
        """A cautious estimate of the time until the answer, after runs of `run_ms`."""
        return run_ms * (1 + max(self.model.slack, _MIN_MARGIN)) + self.after_ms

    def wait_ms(self, priority: Priority, device: DeviceState) -> float:
        """The predicted wait of a new image of that priority: the whole batches ahead; the rest shares its batch."""
        target = self.target_size
        return device.remaining_ms + self.places.ahead(priority) // target * self.run_ms(target)
