"""One server: a core, the listeners round it, and its life: listen, load, serve, drain.

It listens before its models are loaded and answers UNAVAILABLE until then, so a supervisor sees a live process early.
On stop it finishes every call that it has taken, and closes the sessions last.
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

__all__ = ["Listener", "Server"]

_LOST_S = 2.0  # for the answers that say so
_log = structlog.get_logger("nonesuch.server")


class Listener(Protocol):
    """One address of a server."""

    @property
    def setting(self) -> str:
        """The name of the setting that has its address."""
        ...

    @property
    def address(self) -> str:
        """Where it listens, with the port that was really bound."""
        ...

    async def start(self) -> None:
        """Listen; no model is loaded yet. Raises UnavailableError where the address cannot be bound."""

    def models_loaded(self) -> None:
        """The models of the start are loaded."""

    async def stop(self, *, hurry: bool = False) -> None:
        """Take no more, and end when the last answers are out; `hurry` waits for none. May be called again."""


class Server:
    """The models of the settings on the addresses of the settings.

    Attributes:
        settings: as given.
        registry: the models.
        service: makes images on them.
        gate: what every call passes.
        metrics: its counters.
        listeners: the addresses, the one for gRPC first.
        ending: set where an operator, or the loss of the device, wants the end.
        lost: why the device cannot be used any more, if it cannot.
    """

    def __init__(self, settings: ServerSettings, open_model: OpenGenerator = open_generator) -> None:
        """Nothing is bound or loaded yet.

        Raises:
            InvalidRequestError: there is no model, two have one name, or a certificate cannot be read.
            NonesuchError: a model is not here, or an extra is not installed.
        """
        if not settings.models:
            raise InvalidRequestError.of("models", "there are none; a server has at least one")
        self.settings = settings
        self.ending = asyncio.Event()
        self.lost: DeviceLostError | None = None
        self._tracing = Tracing(settings.otlp)
        self.metrics = ServerMetrics()
        observer = ServerObserver(self.metrics, self._tracing)
        self.registry = ModelRegistry(settings, observer=observer, open_model=open_model, on_lost=self._lose)
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
        """The address of gRPC, with the port that was really bound."""
        return self.addresses["grpc"]

    @property
    def addresses(self) -> dict[str, str]:
        """The addresses that it listens on, by the name of their setting: grpc, admin, http, metrics."""
        return {listener.setting: listener.address for listener in self.listeners}

    async def start(self) -> None:
        """Listen, load the models and warm them up; on return the health of every service is SERVING.

        Raises:
            UnavailableError: an address cannot be bound.
            BackendError: a model cannot be loaded.
        """
        await self._health.say(serving=False)
        try:
            for listener in self.listeners:
                await listener.start()
        except BaseException:
            await self._stop_listeners(hurry=True)  # those that listen already
            raise
        await self.registry.start()
        if self.lost is None:
            await self._health.say(serving=True)
            for listener in self.listeners:
                listener.models_loaded()
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
        await self._health.say_ending()
        gone = self.lost is not None
        await asyncio.sleep(0 if hurry or gone else self.settings.drain_delay_s)
        self.gate.refuse()
        finished = await self.gate.finish(0 if hurry else _LOST_S if gone else self.settings.drain_s)
        await self._stop_listeners(hurry=hurry)
        await self.service.drain()
        self._tracing.close()
        _log.info("stopped", address=self.address, finished=finished)

    async def _stop_listeners(self, *, hurry: bool) -> None:
        await asyncio.gather(*(listener.stop(hurry=hurry) for listener in self.listeners))

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
                f"the web page and the HTTP API need more packages ({error}); pip install 'nonesuch[web]', or leave "
                "http out"
            ) from error
        return HttpGateway(address, self.service, self.gate, self._limiter, self.metrics.registry)

    def _lose(self, error: DeviceLostError) -> None:
        """The device is gone: say so to whoever watches, and end, so that a supervisor starts anew."""
        _log.error("device lost", reason=error.message)
        self.lost = error
        self.ending.set()
        self.registry.draining = True
        self._saying = asyncio.get_running_loop().create_task(self._health.say_ending())
