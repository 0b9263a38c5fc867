"""The places of a batcher's queue: how many there are, who may have one, and how they are shared out.

    interactive                 all of them
    visitors and bulk           three quarters together
    bulk                        half
    streams                     half for those of a class, behind the first image of each
    all but single interactive  seven eighths, so that no stream and no crowd shuts these out

A place counts in all of these that it belongs to.
"""

from __future__ import annotations

import math
from collections import Counter

from .request_queue import Priority

__all__ = ["Places"]


class Places:
    """Counts the tickets that wait.

    Attributes:
        most_streamed: how many the streams of a class may have.
    """

    def __init__(self, limit: int) -> None:
        """`limit`: how many may wait in all, 1 or more."""
        # Of two places visitors may have both, so that one image of bulk does not shut them out.
        self._shares = {
            Priority.INTERACTIVE: limit,
            Priority.VISITOR: math.ceil(limit * 3 / 4),
            Priority.BULK: max(1, limit // 2),
        }
        self.most_streamed = max(1, limit // 2)
        self._most_beside_singles = math.ceil(limit * 7 / 8)
        self._taken = Counter[tuple[Priority, bool]]()

    @property
    def taken(self) -> int:
        """How many wait."""
        return self._taken.total()

    def ahead(self, priority: Priority) -> int:
        """How many wait that go before one of a class that comes now."""
        return sum(count for (one, _), count in self._taken.items() if one <= priority)

    def has_room(self, priority: Priority, *, streamed: bool = False) -> bool:
        """Whether one more may wait; `streamed` says that it is of a stream, behind its first image."""
        beside_singles = self.taken - self._taken[Priority.INTERACTIVE, False]
        single = priority is Priority.INTERACTIVE and not streamed
        return (
            all(self._of_share(share) < most for share, most in self._shares.items() if share <= priority)
            and (single or beside_singles < self._most_beside_singles)
            and (not streamed or self._taken[priority, True] < self.most_streamed)
        )

    def take(self, priority: Priority, *, streamed: bool = False) -> None:
        """One more waits."""
        self._taken[priority, streamed] += 1

    def leave(self, priority: Priority, *, streamed: bool = False) -> None:
        """One waits no more."""
        self._taken[priority, streamed] -= 1

    def _of_share(self, share: Priority) -> int:
        """How many wait of a class and of those below it."""
        return sum(count for (one, _), count in self._taken.items() if one >= share)
