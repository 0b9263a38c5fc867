"""Timeouts for idle HTTP/1.1 connections: uvicorn's own protocol, with two more limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    _Timer = asyncio.TimerHandle | None


def bounded_protocol(timeout_s: float) -> type[H11Protocol]:
    """A protocol that ends connections which send no request, or read no response, for `timeout_s`.

    uvicorn limits only the time between two requests. A first request may never come, and an unread response stays in
    memory for ever.
    """

    class BoundedProtocol(H11Protocol):
        _timer: _Timer = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
            super().connection_made(transport)
            self._start_timer(self._end_if_idle, None)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._start_timer(self._end_if_idle, self.cycle)

        def timeout_keep_alive_handler(self) -> None:
            # The connection closes when its last bytes are read; a client that does not read them is disconnected.
            super().timeout_keep_alive_handler()
            if self.transport.get_write_buffer_size():
                self._start_timer(self.transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._timer is not None:
                self._timer.cancel()
            super().connection_lost(exc)

        def _start_timer(self, function: Callable[..., None], *arguments: object) -> None:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.loop.call_later(timeout_s, function, *arguments)

        def _end_if_idle(self, last: object) -> None:
            """Abort if no complete request has come since the `last`."""
            if self.cycle is last:
                self.transport.abort()

    return BoundedProtocol
