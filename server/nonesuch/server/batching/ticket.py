"""A place in the queue: taken before anything is computed for an image, used once, given back in any case."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from nonesuch.engine.session import Batch

from .device_runs import Rendered, Request
from .request_queue import Priority

__all__ = ["Line", "Ticket"]


class Line(Protocol):
    """What a ticket needs of its batcher."""

    def enqueue(self, request: Request, ticket: Ticket) -> None:
        """Let the request wait for its batch. Raises UnavailableError if the device is lost."""

    def forget(self, request: Request) -> None:
        """The request needs nothing more; it leaves the queue if it is still there."""

    def left(self, ticket: Ticket) -> None:
        """The ticket's place is free again."""


class Ticket:
    """A place in the queue. Leaving the `with` block gives it back if it was not used."""

    def __init__(self, line: Line, deadline: float | None, priority: Priority, *, streamed: bool = False) -> None:
        self.priority = priority
        self.streamed = streamed  # of a stream, behind its first
        self._line = line
        self._deadline = deadline
        self._admitted = time.monotonic()
        self._waiting = True

    async def render(self, batch: Batch) -> Rendered:
        """Render a batch of one image; a cancelled caller costs nothing and harms nobody.

        Raises:
            DeadlineError: the deadline passed, or was certain to, before the image's batch was formed.
            BackendError: the run failed.
            UnavailableError: the device is lost.
        """
        request = Request(batch, self._admitted, self._deadline, self.priority)
        self._line.enqueue(request, self)
        try:
            return await request.future
        finally:
            self._line.forget(request)

    def leave(self) -> None:
        """Give the place back if it is still held; a second call does nothing."""
        if self._waiting:
            self._waiting = False
            self._line.left(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
