"""grpc.health.v1 of all services at once, and a bound on those who watch it: they need no key and never end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

__all__ = ["HEALTH_SERVICE", "MAX_WATCHES", "Health"]

HEALTH_SERVICE: str = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
MAX_WATCHES = 512
"""Watches of health at once."""
_SAY_S = 1.0
_log = structlog.get_logger("nonesuch.server")


class Health:
    """The health of one server, which all its gRPC listeners show."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = ("", *services)
        self._servicer = health.aio.HealthServicer()  # pyright: ignore[reportAttributeAccessIssue]  # by Python version
        self._watches = 0
        self._leaving = asyncio.Event()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Answer on a server that has not started."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def say(self, *, serving: bool) -> None:
        """Set the health of all services."""
        response = health_pb2.HealthCheckResponse
        status = response.SERVING if serving else response.NOT_SERVING

        async def say() -> None:
            for name in self._services:
                await self._servicer.set(name, status)

        await self._within_time(say())

    async def say_ending(self) -> None:
        """Say NOT_SERVING, for good."""
        await self._within_time(self._servicer.enter_graceful_shutdown())

    def leave(self) -> None:
        """End the watches; what they had to say has been said."""
        self._leaving.set()

    def bounded_watch(self, handler: Any) -> Any:
        """A handler of Watch that refuses one more than may watch, and ends when the server does."""

        async def watch(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            if self._watches >= MAX_WATCHES:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MAX_WATCHES} watches run; use Check")
            self._watches += 1
            watching = asyncio.ensure_future(handler(request, context))
            leaving = asyncio.ensure_future(self._leaving.wait())
            try:
                await asyncio.wait({watching, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._watches -= 1
                watching.cancel()
                leaving.cancel()
                await asyncio.gather(watching, return_exceptions=True)

        return watch

    async def _within_time(self, saying: Any) -> None:
        """A watcher that reads nothing holds the service's lock for as long as it likes, so there is a limit."""
        try:
            await asyncio.wait_for(saying, _SAY_S)
        except TimeoutError:
            _log.warning("health not set", reason=f"a watcher has read nothing for {_SAY_S:g} s")
