"""HTTP/1.1 connections that cannot be held open for nothing: uvicorn's own protocol, with two more bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    _Timer = asyncio.TimerHandle | None

__all__ = ["bounded_protocol"]


def bounded_protocol(patience_s: float) -> type[H11Protocol]:
    """A protocol that ends connections which send no request, or take no answer, for so long.

    uvicorn bounds only the time between two requests: a first one may never come, and an answer that nobody reads
    keeps its bytes for ever.
    """

    class BoundedProtocol(H11Protocol):
        _waiting: _Timer = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
            super().connection_made(transport)
            self._waiting = self.loop.call_later(patience_s, self._end_if_idle, None)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._wait(self._end_if_idle, self.cycle)

        def timeout_keep_alive_handler(self) -> None:
            # The connection is closed when its last bytes are read; whoever reads none of them is not waited for.
            super().timeout_keep_alive_handler()
            if self.transport.get_write_buffer_size():
                self._wait(self.transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
            super().connection_lost(exc)

        def _wait(self, function: Callable[..., None], *arguments: object) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
            self._waiting = self.loop.call_later(patience_s, function, *arguments)

        def _end_if_idle(self, last: object) -> None:
            """No request has come since the `last`, or only a part of one."""
            if self.cycle is last:
                self.transport.abort()

    return BoundedProtocol
