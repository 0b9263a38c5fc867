"""What the next batch is made of, and what cannot be in time: decisions from the queue and from what runs take.

Nothing here waits or runs; the batcher acts on what is decided.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from .device_runs import Request
from .latency_model import LatencyModel
from .request_queue import Priority, RequestQueue

__all__ = ["BatchPlanner"]

_LEAST_MARGIN = 0.1
"""Of the predicted time, when a deadline is judged: what is run is to be in time, behind a network too."""
_WORTH = 0.97
"""A batch is cut short for an urgent member while it still makes this share of the images per second."""


@dataclass
class BatchPlanner:
    """Plans the batches of one session.

    Attributes:
        queue: who waits.
        model: what runs take.
        sizes: that a run may have, ascending; a batch between two of them is padded.
        min_gain: a batch grows only while twice the size saves this share of the time per image.
        after_ms: what an image takes behind its run, encoding above all.
    """

    queue: RequestQueue[Request]
    model: LatencyModel
    sizes: tuple[int, ...]
    min_gain: float
    after_ms: float = 0.0

    def __post_init__(self) -> None:
        self._target = (-1, 0)  # of so many runs, the size

    @property
    def target_size(self) -> int:
        """Where a batch stops growing, by what runs take now."""
        runs, size = self._target
        if runs != self.model.runs:  # a request alone would otherwise ask several times
            size = self.model.best_size(self.sizes, self.min_gain)
            self._target = (self.model.runs, size)
        return size

    def run_ms(self, count: int) -> float:
        """The expected time of a run of so many images, padded as it will be."""
        return self.model.run_ms(next((size for size in self.sizes if size >= count), self.sizes[-1]))

    def answer_ms(self, run_ms: float) -> float:
        """From now to the answer, behind runs of so many milliseconds, on the safe side."""
        return run_ms * (1 + max(self.model.slack, _LEAST_MARGIN)) + self.after_ms

    def wait_ms(self, ahead: int) -> float:
        """Until whole batches of those ahead have run; the rest of them rides along."""
        target = self.target_size
        return ahead // target * self.run_ms(target)

    def next_batch(self, drop: Callable[[list[Request]], None], *, trust: bool) -> list[Request]:
        """The requests of the next batch, still in the queue: as many as pay, in its order.

        Args:
            drop: takes out of the queue those whose deadline cannot be met any more.
            trust: whether predictions hold; if not, only deadlines that have passed count.
        """
        drop(self._late(self.sizes[0], trust=trust))
        if len(self.queue) <= 1:
            return list(self.queue)
        count = self.model.images_in_next(len(self.queue), self.sizes, self.target_size)
        batch = self._gather(count)
        wanted = min(count, self.queue.front)  # nobody is dropped to make room for a lower class
        if len(batch) < wanted and self._images_per_ms(len(batch)) < _WORTH * self._images_per_ms(wanted):
            # Cut so short for its most urgent members that the rest would be late in turn: those are too late now.
            drop(self._late(wanted, trust=trust))
            batch = self._gather(min(count, len(self.queue)))
        return batch

    def _gather(self, count: int) -> list[Request]:
        """Up to so many requests, fewer where one more would make one of them late.

        A lower class fills up what a higher one leaves, as far as that still has its images within the time of one
        whole batch, what they have waited already included.
        """
        batch: list[Request] = []
        now = time.monotonic()
        earliest = math.inf
        first = dict.fromkeys(Priority, math.inf)  # admitted, of each class
        whole_ms = self.run_ms(self.target_size)
        for request in self.queue.next_first():
            if len(batch) == count:
                break
            grown_ms = self.run_ms(len(batch) + 1)
            earliest = min(earliest, math.inf if request.deadline is None else request.deadline)
            if batch and now + self.answer_ms(grown_ms) / 1e3 > earliest:
                break
            before = min((first[one] for one in Priority if one < request.priority), default=math.inf)
            if (now - before) * 1e3 + grown_ms > whole_ms:  # nobody before it: minus infinity
                break
            first[request.priority] = min(first[request.priority], request.admitted)
            batch.append(request)
        return batch

    def _late(self, count: int, *, trust: bool) -> list[Request]:
        """Those whose deadline has passed, or would during a run of so many images."""
        soonest = time.monotonic() + (self.answer_ms(self.run_ms(count)) / 1e3 if trust else 0.0)
        return [one for one in self.queue if one.deadline is not None and one.deadline <= soonest]

    def _images_per_ms(self, count: int) -> float:
        return count / self.run_ms(count) if count else 0.0
