"""The page /metrics for Prometheus, on an address of its own and in a thread of its own."""

from __future__ import annotations

import asyncio
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

from nonesuch.engine.errors import UnavailableError

__all__ = ["MetricsPage"]


class MetricsPage:
    """A listener, as `server.Listener` says: prometheus_client's small HTTP server.

    It answers with what the registry has at that moment.
    """

    setting = "metrics"

    def __init__(self, address: str, registry: CollectorRegistry) -> None:
        """`address` is HOST:PORT; port 0 takes a free one when it starts."""
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._registry = registry
        self._running: tuple[WSGIServer, Thread] | None = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            UnavailableError: the address cannot be bound.
        """
        try:
            server, thread = start_http_server(self._port, self._host.strip("[]"), self._registry)
        except OSError as error:
            raise UnavailableError(
                f"cannot listen on {self.address} ({error.strerror}); choose another with --metrics HOST:PORT"
            ) from error
        self._port = server.server_port
        self._running = server, thread

    def models_loaded(self) -> None:
        """Nothing is to be done: the page is there all the time."""

    async def stop(self, *, hurry: bool = False) -> None:
        """Stop; a second call does nothing."""
        if self._running is not None:
            server, thread = self._running
            self._running = None
            await asyncio.get_running_loop().run_in_executor(None, server.shutdown)
            server.server_close()
            thread.join()
