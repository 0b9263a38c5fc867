"""The bounds of a batcher, and how its queue is shared out between the classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .request_queue import Priority

__all__ = ["BatcherLimits"]

_QUARTERS = {Priority.INTERACTIVE: 4, Priority.VISITOR: 3, Priority.BULK: 2}
"""Of the queue, for a class and those below it."""


@dataclass(frozen=True)
class BatcherLimits:
    """The bounds of a batcher."""

    most: int  # images in a batch at most: the largest size that was warmed up
    queue_limit: int  # tickets that may wait
    min_gain: float = 0.1  # a batch grows only while twice the size saves this share of the time per image
    queue_delay_ms: float = 0.0  # how long an incomplete batch may wait while the device is idle
    max_wait_ms: float = math.inf  # a ticket that would have to wait longer, by prediction, is refused
    run_timeout_s: float = math.inf  # a run that takes longer means that the device hangs

    def limit(self, priority: Priority) -> int:
        """Tickets that may be waiting of a class and those below it: the rest of the queue is for those above."""
        return max(1, self.queue_limit * _QUARTERS[priority] // 4)
