"""grpc.health.v1 for all services, with a limit of watches, because these need no key and do not end by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

HEALTH_SERVICE: str = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
MAX_WATCHES = 512
"""Max concurrent watches."""
_SET_TIMEOUT_S = 1.0
_log = structlog.get_logger("nonesuch.server")


class Health:
    """The health of a server, shared by its gRPC listeners."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = ("", *services)
        self._servicer = health.aio.HealthServicer()  # pyright: ignore[reportAttributeAccessIssue]  # by Python version
        self._watches = 0
        self._ending = asyncio.Event()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Add the health service to a server that has not started."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def set(self, *, serving: bool) -> None:
        """Set the health of all services."""
        response = health_pb2.HealthCheckResponse
        status = response.SERVING if serving else response.NOT_SERVING

        async def set_all() -> None:
            for name in self._services:
                await self._servicer.set(name, status)

        await self._with_timeout(set_all())

    async def shut_down(self) -> None:
        """Set NOT_SERVING permanently."""
        await self._with_timeout(self._servicer.enter_graceful_shutdown())

    def end_watches(self) -> None:
        """End the watches."""
        self._ending.set()

    def bounded_watch(self, handler: Any) -> Any:
        """Wrap the handler of Watch: limit the watches, and end them when the server stops."""

        async def watch(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            if self._watches >= MAX_WATCHES:
                await context.abort(
                    grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MAX_WATCHES} watches run, which is the max; use Check"
                )
            self._watches += 1
            watching = asyncio.ensure_future(handler(request, context))
            leaving = asyncio.ensure_future(self._ending.wait())
            try:
                await asyncio.wait({watching, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._watches -= 1
                watching.cancel()
                leaving.cancel()
                await asyncio.gather(watching, return_exceptions=True)

        return watch

    async def _with_timeout(self, change: Any) -> None:
        """Limit the time of a change, because a watcher that does not read holds the service's lock."""
        try:
            await asyncio.wait_for(change, _SET_TIMEOUT_S)
        except TimeoutError:
            _log.warning("health not set", reason=f"a watcher has not read for {_SET_TIMEOUT_S:g} s")
