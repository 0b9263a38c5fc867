"""One gRPC address: binds it, serves services on it, and stops without losing answers."""

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

_SETTLE_S = 0.1
_LINGER_S = 5.0
_RESERVED_CALLS = 64  # beyond max_calls, for health, reflection, and calls that are being refused


@dataclass(frozen=True)
class RpcService:
    """A service, its servicer, and grpcio's generated function that adds it to a server."""

    descriptor: ServiceDescriptor
    add: Callable[[Any, grpc.aio.Server], None]
    servicer: object

    @property
    def name(self) -> str:
        """The full name, with the package."""
        return self.descriptor.full_name


class RpcListener:
    """A `server.Listener` for gRPC.

    Attributes:
        setting: the name of the setting that holds its address.
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
        """Create the listener; `start` binds the address.

        Args:
            setting: "grpc" or "admin".
            address: HOST:PORT or unix:PATH; port 0 selects a free one.
            services: the services.
            calls: wraps every call.
            health: the server's health.
            settings: the transport's settings.
            credentials: for TLS; None for plain text.
        """
        self.setting = setting
        self._requested_address = address
        self._port = 0
        self._services = services
        self._calls = calls
        self._health = health
        self._settings = settings
        self._credentials = credentials
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> str:
        """The address with the bound port."""
        return (
            self._requested_address
            if self._requested_address.startswith("unix:")
            else f"{self._requested_address.rpartition(':')[0]}:{self._port}"
        )

    async def start(self) -> None:
        """Listen.

        Raises:
            UnavailableError: the address cannot be bound.
        """
        settings = self._settings
        server = self._server = grpc.aio.server(
            interceptors=[self._calls],
            options=transport_options(settings),
            maximum_concurrent_rpcs=settings.max_calls + MAX_WATCHES + _RESERVED_CALLS,
        )
        for service in self._services:
            service.add(service.servicer, server)
        self._health.add_to(server)
        if settings.reflection:
            names = [service.name for service in self._services]
            reflection.enable_server_reflection((*names, HEALTH_SERVICE, reflection.SERVICE_NAME), server)
        try:
            if self._credentials is None:
                self._port = server.add_insecure_port(self._requested_address)
            else:
                self._port = server.add_secure_port(self._requested_address, self._credentials)
        except RuntimeError as error:
            raise UnavailableError(
                f"cannot listen on {self._requested_address}: it is in use by another server, or not an address of "
                f"this machine; choose another with --{self.setting} HOST:PORT"
            ) from error
        await server.start()

    def models_loaded(self) -> None:
        """Ignored: the health service reports it."""

    async def stop(self, *, force: bool = False) -> None:
        """Refuse new calls and close the connections after the last answers; `force` does not wait."""
        if self._server is not None:
            # Calls that the transport has received, but not yet passed on, are refused in this time.
            await asyncio.sleep(0 if force else _SETTLE_S)
            self._health.end_watches()
            # The handlers are done; the last answers may still be on their way to slow readers.
            await self._server.stop(0 if force else _LINGER_S)


MAX_REQUEST_BYTES = 1 << 20
MAX_METADATA_BYTES = 16 << 10
_MIN_PING_INTERVAL_MS = 10_000  # clients that ping more often are disconnected
_PING_TIMEOUT_MS = 20_000


def transport_options(settings: ServerSettings) -> list[tuple[str, int]]:
    """The channel arguments of a server, by the names of grpc_types.h."""
    options = [
        # Otherwise a second server could bind the same port, and each would get some of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.max_concurrent_streams", settings.max_calls_per_connection),
        ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_INTERVAL_MS),
    ]
    if settings.keepalive_s:
        options += [
            ("grpc.keepalive_time_ms", _ms(settings.keepalive_s)),
            ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
            ("grpc.keepalive_permit_without_calls", 1),
        ]
    if settings.connection_age_s:
        options += [
            ("grpc.max_connection_age_ms", _ms(settings.connection_age_s)),
            ("grpc.max_connection_age_grace_ms", _ms(settings.connection_grace_s)),
        ]
    if settings.max_connections is not None:
        options.append(("grpc.max_allowed_incoming_connections", settings.max_connections))
    return options


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1e3))
