"""The places of a batcher's queue and the max share of each kind of request.

    interactive                 all
    visitors and bulk           three quarters together
    bulk                        half
    streams                     half per priority, not counting the first image of each stream
    all but single interactive  seven eighths, so that streams and crowds never exclude these

A place counts in every share that it belongs to.
"""

from __future__ import annotations

import math
from collections import Counter

from .request_queue import Priority


class Places:
    """Counts the images that hold a place.

    Attributes:
        max_streamed: max places for the streams of one priority.
    """

    def __init__(self, limit: int) -> None:
        """`limit` is the total number of places, 1 or more."""
        # Rounded up: of two places visitors may have both, so that one bulk image does not exclude them.
        self._shares = {
            Priority.INTERACTIVE: limit,
            Priority.VISITOR: math.ceil(limit * 3 / 4),
            Priority.BULK: max(1, limit // 2),
        }
        self.max_streamed = max(1, limit // 2)
        self._max_beside_singles = math.ceil(limit * 7 / 8)
        self._taken = Counter[tuple[Priority, bool]]()

    @property
    def taken(self) -> int:
        """Places in use."""
        return self._taken.total()

    def ahead(self, priority: Priority) -> int:
        """How many images go before a new one of that priority."""
        return sum(count for (one, _), count in self._taken.items() if one <= priority)

    def has_room(self, priority: Priority, *, streamed: bool = False) -> bool:
        """Whether a place is free; `streamed` is True for all but the first image of a stream."""
        beside_singles = self.taken - self._taken[Priority.INTERACTIVE, False]
        single = priority is Priority.INTERACTIVE and not streamed
        return (
            all(self._in_use(share) < limit for share, limit in self._shares.items() if share <= priority)
            and (single or beside_singles < self._max_beside_singles)
            and (not streamed or self._taken[priority, True] < self.max_streamed)
        )

    def take(self, priority: Priority, *, streamed: bool = False) -> None:
        """Take a place."""
        self._taken[priority, streamed] += 1

    def leave(self, priority: Priority, *, streamed: bool = False) -> None:
        """Give a place back."""
        self._taken[priority, streamed] -= 1

    def _in_use(self, share: Priority) -> int:
        """Places in use by a priority and those below it."""
        return sum(count for (one, _), count in self._taken.items() if one >= share)
