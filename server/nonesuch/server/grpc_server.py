"""The gRPC server's life: bind, health, load, serve, drain.

It listens before its models are loaded and answers UNAVAILABLE until then, so a supervisor sees a live process early.
On stop it finishes every call that it has taken, and closes the sessions last.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from nonesuch.engine.errors import (
    BackendUnavailableError,
    DeviceLostError,
    InvalidRequestError,
    UnavailableError,
)
from nonesuch.oip import open_inference_service_pb2, open_inference_service_pb2_grpc
from nonesuch.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    generation_service_pb2,
    generation_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
)

from .access.api_keys import KeyRing
from .access.rate_limiter import RateLimiter
from .access.tls import server_credentials
from .admin_servicer import AdminServicer
from .call_gate import CallGate
from .call_interceptor import MOST_WATCHES, CallInterceptor
from .generation_servicer import GenerationServicer
from .metrics_page import MetricsPage
from .model_registry import ModelRegistry
from .model_servicer import ModelServicer
from .oip.servicer import OipServicer
from .open_model import OpenGenerator, open_generator
from .server_metrics import ServerMetrics
from .service import ImageService
from .settings import KeySettings, ServerSettings
from .tracing import Tracing
from .transport_options import transport_options

if TYPE_CHECKING:
    from .http.gateway import HttpGateway

__all__ = ["GrpcServer"]

_SETTLE_S = 0.1
_LINGER_S = 5.0
_SAY_S = 1.0
_LOST_S = 2.0  # for the answers that say so
_BACKSTOP_CALLS = 64  # beyond max_calls: health and reflection, and ours while they are being refused
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_SERVICES = (
    generation_service_pb2.DESCRIPTOR.services_by_name["GenerationService"].full_name,
    model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name,
    open_inference_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name,
)
_ADMIN = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
_log = structlog.get_logger("nonesuch.server")


class GrpcServer:
    """The models of the settings on one address, with admin and metrics on others where they are wanted."""

    def __init__(self, settings: ServerSettings, open_model: OpenGenerator = open_generator) -> None:
        """Nothing is bound or loaded yet.

        Raises:
            InvalidRequestError: there is no model, two have one name, or a certificate cannot be read.
            NonesuchError: a model is not here, or an extra is not installed.
        """
        if not settings.models:
            raise InvalidRequestError.of("models", "there are none; a server has at least one")
        self.settings = settings
        self.port = self.admin_port = 0
        self.ending = asyncio.Event()  # an operator, or the loss of the device, wants the end
        self.lost: DeviceLostError | None = None
        self.metrics = ServerMetrics()
        self._tracing = Tracing(settings.otlp)
        self.registry = ModelRegistry(settings, metrics=self.metrics, open_model=open_model, on_lost=self._lose)
        self.service = ImageService(self.registry, settings, self.metrics, self._tracing)
        self._credentials = server_credentials(settings.tls) if settings.tls else None
        self.gate = CallGate(settings, self.metrics, self._tracing)
        self._calls = CallInterceptor(self.gate, settings.stalled_reader_s)
        self._health = health.aio.HealthServicer()
        self._servers: list[grpc.aio.Server] = []
        self._limiter = RateLimiter(settings.images_per_s, settings.burst_images)
        self._web = self._gateway(settings.http) if settings.http else None
        self._page = MetricsPage(settings.metrics, self.metrics.registry) if settings.metrics else None

    @property
    def address(self) -> str:
        """The address it listens on, with the port that was really bound."""
        return _bound(self.settings.grpc, self.port)

    @property
    def admin_address(self) -> str:
        """Likewise, of the admin service; empty where there is none."""
        return _bound(self.settings.admin, self.admin_port) if self.settings.admin else ""

    @property
    def http_address(self) -> str:
        """Likewise, of the HTTP API; empty where there is none."""
        return self._web.address if self._web else ""

    @property
    def metrics_address(self) -> str:
        """Likewise, of the metrics page; empty where there is none."""
        return self._page.address if self._page else ""

    async def start(self) -> None:
        """Listen, load the models and warm them up; on return the health of every service is SERVING.

        Raises:
            UnavailableError: an address cannot be bound.
            BackendError: a model cannot be loaded.
        """
        await self._say(_NOT_SERVING)
        server = self._make_server(_SERVICES)
        generation_service_pb2_grpc.add_GenerationServiceServicer_to_server(  # type: ignore[no-untyped-call]
            GenerationServicer(self.service, self._limiter), server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(  # type: ignore[no-untyped-call]
            ModelServicer(self.registry), server
        )
        open_inference_service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(  # type: ignore[no-untyped-call]
            OipServicer(self.service, self._limiter), server
        )
        self.port = self._bind(server, self.settings.grpc, "grpc", self._credentials)
        if self._web:
            await self._web.start()
        if self._page:
            self._page.start()
        await server.start()
        if self.settings.admin:
            await self._start_admin(self.settings.admin)
        await self.registry.start()
        if self.lost is None:
            await self._say(_SERVING)
            if self._web:
                self._web.warm_up()
        _log.info("serving", address=self.address, models=list(self.registry.names))

    def replace_keys(self, keys: tuple[KeySettings, ...]) -> None:
        """Know these API keys from now on; calls that run already go on.

        Raises:
            InvalidRequestError: the last key would go, and with it all protection, or the first would come.
        """
        if bool(keys) != bool(self.settings.keys):
            raise InvalidRequestError.of("keys", "whether keys are wanted is not changed while running")
        self.gate.keys = KeyRing(keys)
        _log.info("keys replaced", keys=[key.name for key in keys])

    async def stop(self, *, hurry: bool = False) -> None:
        """Stop gracefully: say NOT_SERVING, keep serving for `drain_delay_s`, then finish what runs within `drain_s`.

        The delay is for balancers to look elsewhere. After it new calls get UNAVAILABLE from us, not a reset from the
        transport. `hurry` skips both waits; a server that has lost its device has nothing to wait for.
        """
        _log.info("draining", address=self.address)
        self.registry.draining = True
        await self._say(None)
        gone = self.lost is not None
        await asyncio.sleep(0 if hurry or gone else self.settings.drain_delay_s)
        self.gate.refuse()
        if self._web:
            await self._web.rest()
        finished = await self.gate.finish(0 if hurry else _LOST_S if gone else self.settings.drain_s)
        if self._servers:
            # Calls that the transport has, and we have not seen yet, are refused in this moment.
            await asyncio.sleep(0 if hurry else _SETTLE_S)
            self._calls.leave()
            # Our handlers are done; the last answers may still be on their way to slow readers.
            await asyncio.gather(*(server.stop(0 if hurry else _LINGER_S) for server in self._servers))
        if self._web:
            await self._web.stop(hurry=hurry)
        await self.service.drain()
        if self._page:
            self._page.stop()
        self._tracing.close()
        _log.info("stopped", address=self.address, finished=finished)

    def _gateway(self, address: str) -> HttpGateway:
        try:
            from .http.gateway import HttpGateway
        except ImportError as error:
            raise BackendUnavailableError(
                f"the web page and the HTTP API need more packages ({error}); pip install 'nonesuch[web]', or leave "
                "http out"
            ) from error
        return HttpGateway(address, self.service, self.gate, self._limiter, cors=self.settings.http_cors)

    async def _start_admin(self, address: str) -> None:
        server = self._make_server((_ADMIN,))
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server(  # type: ignore[no-untyped-call]
            AdminServicer(self.registry, self.ending.set), server
        )
        self.admin_port = self._bind(server, address, "admin", None)
        await server.start()

    def _make_server(self, services: tuple[str, ...]) -> grpc.aio.Server:
        server = grpc.aio.server(
            interceptors=[self._calls],
            options=transport_options(self.settings),
            maximum_concurrent_rpcs=self.settings.max_calls + MOST_WATCHES + _BACKSTOP_CALLS,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self.settings.reflection:
            reflection.enable_server_reflection((*services, _HEALTH, reflection.SERVICE_NAME), server)
        self._servers.append(server)
        return server

    def _bind(
        self, server: grpc.aio.Server, address: str, setting: str, credentials: grpc.ServerCredentials | None
    ) -> int:
        try:
            if credentials is None:
                return server.add_insecure_port(address)
            return server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise UnavailableError(
                f"cannot listen on {address}: it is in use by another server, or no address of this machine; "
                f"choose another with --{setting} HOST:PORT"
            ) from error

    def _lose(self, error: DeviceLostError) -> None:
        """The device is gone: say so to whoever watches, and end, so that a supervisor starts anew."""
        _log.error("device lost", reason=error.message)
        self.lost = error
        self.ending.set()
        self.registry.draining = True
        self._saying = asyncio.get_running_loop().create_task(self._say(None))

    async def _say(self, status: health_pb2.HealthCheckResponse.ServingStatus | None) -> None:
        """Set the health of all services; None is NOT_SERVING for good.

        A watcher that reads nothing holds the health service's lock for as long as it likes, so there is a limit.
        """

        async def say() -> None:
            if status is None:
                await self._health.enter_graceful_shutdown()
                return
            for name in ("", *_SERVICES, *([_ADMIN] if self.settings.admin else [])):
                await self._health.set(name, status)

        try:
            await asyncio.wait_for(say(), _SAY_S)
        except TimeoutError:
            _log.warning("health not set", reason=f"a watcher has read nothing for {_SAY_S:g} s")


def _bound(address: str, port: int) -> str:
    return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
