"""The Prometheus page /metrics on a separate address and thread."""

from __future__ import annotations

import asyncio
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

from nonesuch.engine.errors import UnavailableError


class MetricsPage:
    """A `server.Listener`: prometheus_client's HTTP server over the current values of a registry."""

    setting = "metrics"

    def __init__(self, address: str, registry: CollectorRegistry) -> None:
        """`address` is HOST:PORT; port 0 selects a free one at the start."""
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._registry = registry
        self._running: tuple[WSGIServer, Thread] | None = None

    @property
    def address(self) -> str:
        """The address with the bound port."""
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
        """Ignored: the page does not depend on the models."""

    async def stop(self, *, force: bool = False) -> None:
        """Stop; a second call does nothing. `force` makes no difference."""
        if self._running is not None:
            server, thread = self._running
            self._running = None
            await asyncio.get_running_loop().run_in_executor(None, server.shutdown)
            server.server_close()
            thread.join()
