"""The order of requests: interactive, then visitors, then bulk, in order of arrival within each priority.

No priority is starved: after `PATIENCE` batches in a row without it, it gets the first place of the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Generic, TypeVar

PATIENCE = 8
"""Max batches in a row without a waiting priority, before one of its requests goes first."""

_T = TypeVar("_T")


class Priority(IntEnum):
    """Priorities of requests, highest first."""

    INTERACTIVE = 0  # a user waits for this image
    VISITOR = 1  # a user waits for it over HTTP, which is open to crowds
    BULK = 2  # part of a large job


class RequestQueue(Generic[_T]):
    """Requests by priority; each request is in it once."""

    def __init__(self) -> None:
        # Insertion-ordered, with removal in constant time.
        self._queues: dict[Priority, dict[_T, None]] = {priority: {} for priority in Priority}
        self._passed_over = dict.fromkeys(Priority, 0)

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def __iter__(self) -> Iterator[_T]:
        """All requests by priority and arrival, without regard to `PATIENCE`."""
        for queue in self._queues.values():
            yield from queue

    def add(self, request: _T, priority: Priority) -> None:
        """Append a request to its priority."""
        self._queues[priority][request] = None

    def remove(self, request: _T) -> bool:
        """Remove a request; returns whether it was found."""
        for queue in self._queues.values():
            if request in queue:
                del queue[request]
                return True
        return False

    @property
    def front(self) -> int:
        """The number of requests of the highest priority that has any."""
        return next(filter(None, map(len, self._queues.values())), 0)

    def oldest(self) -> _T:
        """The first request by priority and arrival."""
        return next(iter(self))

    def batch_order(self) -> Iterator[_T]:
        """The requests in the order in which the next batch takes them. Nothing is removed."""
        waited = [one for one, queue in self._queues.items() if queue and self._passed_over[one] >= PATIENCE]
        first = None
        if waited:  # one request of one priority; higher priorities follow in the same batch
            first = next(iter(self._queues[max(waited, key=lambda one: self._passed_over[one])]))
            yield first
        for request in self:
            if request is not first:
                yield request

    def taken(self, requests: list[_T]) -> None:
        """Remove the requests of a batch, and count the priorities that were passed over."""
        for priority, queue in self._queues.items():
            passed_over = bool(requests and queue) and not any(request in queue for request in requests)
            self._passed_over[priority] = self._passed_over[priority] + 1 if passed_over else 0
        for request in requests:
            self.remove(request)
