"""One address of gRPC: binds it, serves some services on it, and ends it without losing what is on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_reflection.v1alpha import reflection

from nonesuch.engine.errors import UnavailableError

from ..settings import ServerSettings
from .health import HEALTH_SERVICE, MAX_WATCHES, Health
from .interceptor import CallInterceptor
from .transport_options import transport_options

__all__ = ["RpcListener", "RpcService"]

_SETTLE_S = 0.1
_LINGER_S = 5.0
_BACKSTOP_CALLS = 64  # beyond max_calls: health and reflection, and ours while they are being refused


@dataclass(frozen=True)
class RpcService:
    """A service, and how grpcio's generated code adds what answers it to a server."""

    descriptor: ServiceDescriptor
    add: Callable[[Any, grpc.aio.Server], None]
    servicer: object

    @property
    def name(self) -> str:
        """With its package."""
        return self.descriptor.full_name


class RpcListener:
    """A listener, as `server.Listener` says.

    Attributes:
        setting: the name of the setting that has its address.
    """

    def __init__(
        self,
        setting: str,
        address: str,
        services: Sequence[RpcService],
        calls: CallInterceptor,
        health: Health,
        settings: ServerSettings,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        """Nothing is bound yet.

        Args:
            setting: "grpc" or "admin".
            address: HOST:PORT or unix:PATH; port 0 takes a free one.
            services: what it answers.
            calls: goes around every call.
            health: is shown here too.
            settings: of the transport.
            credentials: of TLS; None is in clear.
        """
        self.setting = setting
        self._asked = address
        self._port = 0
        self._services = services
        self._calls = calls
        self._health = health
        self._settings = settings
        self._credentials = credentials
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> str:
        """Where it listens, with the port that was really bound."""
        return self._asked if self._asked.startswith("unix:") else f"{self._asked.rpartition(':')[0]}:{self._port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            UnavailableError: the address cannot be bound.
        """
        settings = self._settings
        server = self._server = grpc.aio.server(
            interceptors=[self._calls],
            options=transport_options(settings),
            maximum_concurrent_rpcs=settings.max_calls + MAX_WATCHES + _BACKSTOP_CALLS,
        )
        for service in self._services:
            service.add(service.servicer, server)
        self._health.add_to(server)
        if settings.reflection:
            names = [service.name for service in self._services]
            reflection.enable_server_reflection((*names, HEALTH_SERVICE, reflection.SERVICE_NAME), server)
        try:
            if self._credentials is None:
                self._port = server.add_insecure_port(self._asked)
            else:
                self._port = server.add_secure_port(self._asked, self._credentials)
        except RuntimeError as error:
            raise UnavailableError(
                f"cannot listen on {self._asked}: it is in use by another server, or no address of this machine; "
                f"choose another with --{self.setting} HOST:PORT"
            ) from error
        await server.start()

    def models_loaded(self) -> None:
        """Nothing is to be done: health says so."""

    async def stop(self, *, hurry: bool = False) -> None:
        """Take no more calls, and end the connections when the last answers are out; `hurry` waits for none."""
        if self._server is not None:
            # Calls that the transport has, and we have not seen yet, are refused in this moment.
            await asyncio.sleep(0 if hurry else _SETTLE_S)
            self._health.leave()
            # Our handlers are done; the last answers may still be on their way to slow readers.
            await self._server.stop(0 if hurry else _LINGER_S)
