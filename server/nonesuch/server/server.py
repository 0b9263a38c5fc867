"""One server: a core and its listeners, through the stages listen, load, serve and drain.

It listens before its models are loaded and answers UNAVAILABLE until then, so a supervisor sees a live process early.
On stop it finishes every accepted call, and closes the sessions last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Protocol

import structlog

from nonesuch.engine.errors import BackendUnavailableError, DeviceLostError, InvalidRequestError
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
from .access.call_gate import CallGate
from .access.rate_limiter import RateLimiter
from .core.model_registry import ModelRegistry
from .core.open_model import OpenGenerator, open_generator
from .core.service import ImageService
from .observing.metrics import ServerMetrics
from .observing.metrics_page import MetricsPage
from .observing.server_observer import ServerObserver
from .observing.tracing import Tracing
from .oip.request import FIELD_NAMES
from .oip.servicer import OipServicer
from .rpc.generation_servicer import GenerationServicer
from .rpc.health import Health
from .rpc.interceptor import CallInterceptor
from .rpc.listener import RpcListener, RpcService
from .rpc.model_servicers import AdminServicer, ModelServicer
from .rpc.status import FIELD_PATHS
from .rpc.tls import server_credentials
from .settings import KeySettings, ServerSettings

_LOST_DRAIN_S = 2.0  # time to answer running calls after the device is lost
_log = structlog.get_logger("nonesuch.server")


class Listener(Protocol):
    """One address of a server."""

    @property
    def setting(self) -> str:
        """The name of the setting that holds its address."""
        ...

    @property
    def address(self) -> str:
        """The address with the bound port."""
        ...

    async def start(self) -> None:
        """Listen, before models are loaded. Raises UnavailableError if the address cannot be bound."""

    def models_loaded(self) -> None:
        """Called once all models with `load = "start"` are loaded."""

    async def stop(self, *, force: bool = False) -> None:
        """Refuse new calls and stop after the last answer; `force` does not wait. May be called again."""


class Server:
    """Serves the configured models on the configured addresses.

    Attributes:
        settings: as given.
        registry: the models.
        service: makes images with the models.
        gate: admits every call.
        metrics: its counters.
        listeners: the addresses, gRPC first.
        ending: set by an operator's Drain, or when the device is lost.
        lost: the error if the device is lost.
    """

    def __init__(self, settings: ServerSettings, open_model: OpenGenerator = open_generator) -> None:
        """Create the parts; `start` binds addresses and loads models.

        Raises:
            InvalidRequestError: no model is configured, a name is not unique, or a certificate cannot be read.
            NonesuchError: a model is not found, or an extra is not installed.
        """
        if not settings.models:
            raise InvalidRequestError.of("models", "no model is configured; add at least one")
        self.settings = settings
        self.ending = asyncio.Event()
        self.lost: DeviceLostError | None = None
        self._tracing = Tracing(settings.otlp)
        self.metrics = ServerMetrics()
        observer = ServerObserver(self.metrics, self._tracing)
        self.registry = ModelRegistry(settings, observer=observer, open_model=open_model, on_lost=self._on_device_lost)
        self.metrics.watch_cache(self.registry.cache)
        self.service = ImageService(self.registry)
        self.gate = CallGate(settings, observer)
        self._limiter = RateLimiter(settings.images_per_s, settings.burst_images)
        self.listeners: list[Listener] = [*self._rpc_listeners()]
        if settings.http:
            self.listeners.append(self._gateway(settings.http))
        if settings.metrics:
            self.listeners.append(MetricsPage(settings.metrics, self.metrics.registry))

    @property
    def address(self) -> str:
        """The gRPC address with the bound port."""
        return self.addresses["grpc"]

    @property
    def addresses(self) -> dict[str, str]:
        """All addresses by the name of their setting: grpc, admin, http, metrics."""
        return {listener.setting: listener.address for listener in self.listeners}

    async def start(self) -> None:
        """Listen, load and warm up the models, then set the health of every service to SERVING.

        Raises:
            UnavailableError: an address cannot be bound.
            BackendError: a model cannot be loaded.
        """
        await self._health.set(serving=False)
        try:
            for listener in self.listeners:
                await listener.start()
        except BaseException:
            await self._stop_listeners(force=True)  # stop those that listen already
            raise
        await self.registry.start()
        if self.lost is None:
            await self._health.set(serving=True)
            for listener in self.listeners:
                listener.models_loaded()
        _log.info("serving", address=self.address, models=list(self.registry.names))

    def replace_keys(self, keys: tuple[KeySettings, ...]) -> None:
        """Replace the API keys; running calls continue.

        Raises:
            InvalidRequestError: the change would turn authentication on or off.
        """
        if bool(keys) != bool(self.settings.keys):
            raise InvalidRequestError.of(
                "keys", "authentication cannot be turned on or off while the server runs; restart it"
            )
        self.gate.keys = KeyRing(keys)
        _log.info("keys replaced", keys=[key.name for key in keys])

    async def stop(self, *, force: bool = False) -> None:
        """Set NOT_SERVING, keep serving for `drain_delay_s`, then finish running calls within `drain_s`.

        The delay lets load balancers move their traffic. After it, new calls get UNAVAILABLE instead of a connection
        reset. `force` skips both waits; after the loss of the device the delay is skipped too.
        """
        _log.info("draining", address=self.address)
        self.registry.draining = True
        await self._health.shut_down()
        lost = self.lost is not None
        await asyncio.sleep(0 if force or lost else self.settings.drain_delay_s)
        self.gate.refuse()
        finished = await self.gate.finish(0 if force else _LOST_DRAIN_S if lost else self.settings.drain_s)
        await self._stop_listeners(force=force)
        await self.service.drain()
        self._tracing.close()
        _log.info("stopped", address=self.address, finished=finished)

    async def _stop_listeners(self, *, force: bool) -> None:
        await asyncio.gather(*(listener.stop(force=force) for listener in self.listeners))

    def _rpc_listeners(self) -> Iterator[Listener]:
        settings, service, limiter = self.settings, self.service, self._limiter
        services = [
            RpcService(
                generation_service_pb2.DESCRIPTOR.services_by_name["GenerationService"],
                generation_service_pb2_grpc.add_GenerationServiceServicer_to_server,
                GenerationServicer(service, limiter),
            ),
            RpcService(
                model_service_pb2.DESCRIPTOR.services_by_name["ModelService"],
                model_service_pb2_grpc.add_ModelServiceServicer_to_server,
                ModelServicer(self.registry),
            ),
            RpcService(
                open_inference_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"],
                open_inference_service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server,
                OipServicer(service, limiter),
            ),
        ]
        admin = [
            RpcService(
                admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
                admin_service_pb2_grpc.add_AdminServiceServicer_to_server,
                AdminServicer(self.registry, self.ending.set),
            )
        ]
        self._health = Health([one.name for one in (services + admin if settings.admin else services)])
        field_names = {"/nonesuch.": FIELD_PATHS, "/inference.": FIELD_NAMES}
        calls = CallInterceptor(self.gate, self._health, settings.stalled_reader_s, field_names)
        credentials = server_credentials(settings.tls) if settings.tls else None
        yield RpcListener("grpc", settings.grpc, services, calls, self._health, settings, credentials)
        if settings.admin:
            yield RpcListener("admin", settings.admin, admin, calls, self._health, settings)

    def _gateway(self, address: str) -> Listener:
        try:
            from .http.gateway import HttpGateway
        except ImportError as error:
            raise BackendUnavailableError(
                f"the web page and the HTTP API need more packages ({error}); pip install 'nonesuch[web]', or "
                "unset http"
            ) from error
        return HttpGateway(address, self.service, self.gate, self._limiter, self.metrics.registry)

    def _on_device_lost(self, error: DeviceLostError) -> None:
        """Report NOT_SERVING and request the end of the process, so that a supervisor restarts it."""
        _log.error("device lost", reason=error.message)
        self.lost = error
        self.ending.set()
        self.registry.draining = True
        self._health_task = asyncio.get_running_loop().create_task(self._health.shut_down())
