"""Who goes first: interactive requests before bulk ones, each in the order in which they came.

Bulk is never starved: after `PATIENCE` batches in a row that left it waiting, the first place of the next one is its.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Generic, TypeVar

__all__ = ["PATIENCE", "Priority", "RequestQueue"]

PATIENCE = 8
"""Batches that may pass over waiting bulk requests before one of them goes first."""

_T = TypeVar("_T")


class Priority(IntEnum):
    """Classes of requests, the first goes first."""

    INTERACTIVE = 0  # somebody is waiting for this image
    BULK = 1  # part of a large job


class RequestQueue(Generic[_T]):
    """Requests by their class; each is in it once."""

    def __init__(self) -> None:
        # Insertion-ordered, and a request that is gone leaves in constant time.
        self._lines: dict[Priority, dict[_T, None]] = {priority: {} for priority in Priority}
        self._passed_over = 0

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __iter__(self) -> Iterator[_T]:
        """All requests in the order in which they would be taken, were none to wait too long."""
        for line in self._lines.values():
            yield from line

    def count(self, priority: Priority) -> int:
        """How many of a class there are."""
        return len(self._lines[priority])

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

    def oldest(self) -> _T:
        """The request that would be taken first."""
        return next(iter(self))

    def next_first(self) -> Iterator[_T]:
        """The requests in the order in which a batch takes them now; nothing is taken by looking."""
        interactive, bulk = self._lines[Priority.INTERACTIVE], self._lines[Priority.BULK]
        if bulk and self._passed_over >= PATIENCE:
            first, *rest = bulk
            yield first
            yield from interactive
            yield from rest
        else:
            yield from self

    def taken(self, requests: list[_T]) -> None:
        """Take out what a batch is made of, and remember whether it had a place for bulk."""
        bulk = self._lines[Priority.BULK]
        passed_over = bool(requests and bulk) and not any(request in bulk for request in requests)
        for request in requests:
            self.remove(request)
        self._passed_over = self._passed_over + 1 if passed_over else 0
