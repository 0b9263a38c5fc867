"""Who goes first: interactive requests, then visitors, then bulk, each class in the order in which they came.

No class is starved: after `PATIENCE` batches in a row that left it waiting, the first place of the next one is its.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Generic, TypeVar

__all__ = ["PATIENCE", "Priority", "RequestQueue"]

PATIENCE = 8
"""Batches that may pass over a class that waits before one of it goes first."""

_T = TypeVar("_T")


class Priority(IntEnum):
    """Classes of requests, the first goes first."""

    INTERACTIVE = 0  # somebody is waiting for this image
    VISITOR = 1  # so is somebody who came over HTTP: anybody may, in crowds
    BULK = 2  # part of a large job


class RequestQueue(Generic[_T]):
    """Requests by their class; each is in it once."""

    def __init__(self) -> None:
        # Insertion-ordered, and a request that is gone leaves in constant time.
        self._lines: dict[Priority, dict[_T, None]] = {priority: {} for priority in Priority}
        self._passed_over = dict.fromkeys(Priority, 0)

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __iter__(self) -> Iterator[_T]:
        """All requests in the order in which they would be taken, were none to wait too long."""
        for line in self._lines.values():
            yield from line

    def add(self, request: _T, priority: Priority) -> None:
        """Behind all of its class."""
        self._lines[priority][request] = None

    def remove(self, request: _T) -> bool:
        """Take one out, wherever it stands; whether it was there."""
        for line in self._lines.values():
            if request in line:
                del line[request]
                return True
        return False

    @property
    def front(self) -> int:
        """How many there are of the first class that has any."""
        return next(filter(None, map(len, self._lines.values())), 0)

    def oldest(self) -> _T:
        """The request that would be taken first."""
        return next(iter(self))

    def next_first(self) -> Iterator[_T]:
        """The requests in the order in which a batch takes them now; nothing is taken by looking."""
        waited = [one for one, line in self._lines.items() if line and self._passed_over[one] >= PATIENCE]
        first = None
        if waited:  # one of one class: those that go before it follow in the same batch
            first = next(iter(self._lines[max(waited, key=lambda one: self._passed_over[one])]))
            yield first
        for request in self:
            if request is not first:
                yield request

    def taken(self, requests: list[_T]) -> None:
        """Take out what a batch is made of, and remember which classes had no place in it."""
        for priority, line in self._lines.items():
            passed_over = bool(requests and line) and not any(request in line for request in requests)
            self._passed_over[priority] = self._passed_over[priority] + 1 if passed_over else 0
        for request in requests:
            self.remove(request)
