"""The gRPC server's life: bind, health, load, serve, drain.

It listens before the model is loaded and answers UNAVAILABLE until then, so a supervisor sees a live process early. On
stop it finishes every call that it has taken, and closes the session last.
"""

from __future__ import annotations

import asyncio

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from nonesuch.engine.errors import UnavailableError
from nonesuch.engine.generator import Generator
from nonesuch.v1 import (
    generation_service_pb2,
    generation_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
)

from .call_interceptor import CallInterceptor
from .generation_servicer import GenerationServicer
from .model_servicer import ModelServicer
from .service import ImageService
from .settings import ServerSettings

__all__ = ["GrpcServer"]

MAX_REQUEST_BYTES = 1 << 20
_SETTLE_S = 0.1
_LINGER_S = 5.0
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_log = structlog.get_logger("nonesuch.server")


class GrpcServer:
    """One model on one address."""

    def __init__(self, generator: Generator, settings: ServerSettings) -> None:
        self.service = ImageService(generator, settings)
        self.settings = settings
        self.port = 0
        self._names = (
            generation_service_pb2.DESCRIPTOR.services_by_name["GenerationService"].full_name,
            model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name,
        )
        self._calls = CallInterceptor()
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> str:
        """The address it listens on, with the port that was really bound."""
        return f"{self.settings.grpc_address.rpartition(':')[0]}:{self.port}"

    async def start(self) -> None:
        """Listen, load the model and warm it up; on return the health of every service is SERVING.

        Raises:
            UnavailableError: the address cannot be bound.
            BackendError: the model cannot be loaded.
        """
        server = grpc.aio.server(
            interceptors=[self._calls],
            options=[
                # Without this a second server on the port would bind too, and calls would go to either.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
            ],
        )
        generation_service_pb2_grpc.add_GenerationServiceServicer_to_server(  # type: ignore[no-untyped-call]
            GenerationServicer(self.service), server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(  # type: ignore[no-untyped-call]
            ModelServicer(self.service), server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        reflection.enable_server_reflection((*self._names, health_name, reflection.SERVICE_NAME), server)
        for name in self._names:
            await self._health.set(name, _NOT_SERVING)
        address = self.settings.grpc_address
        try:
            self.port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise UnavailableError(
                f"cannot listen on {address}: it is in use by another server, or no address of this machine; "
                "choose another with --grpc HOST:PORT"
            ) from error
        await server.start()
        self._server = server
        await self.service.start()
        for name in ("", *self._names):
            await self._health.set(name, _SERVING)
        growth = self.service.growth
        _log.info(
            "serving",
            address=self.address,
            model=self.service.manifest.name,
            backend=self.service.generator.session.identity,
            batch_target=growth.target_size if growth else None,
            run_ms={size: round(ms, 1) for size, ms in growth.run_ms.items()} if growth else None,
        )

    async def stop(self, *, hurry: bool = False) -> None:
        """Stop gracefully: say NOT_SERVING, keep serving for `drain_delay_s`, then finish what runs within `drain_s`.

        The delay is for balancers to look elsewhere. After it new calls get UNAVAILABLE from us, not a reset from the
        transport. `hurry` skips both waits.
        """
        _log.info("draining", address=self.address)
        await self._health.enter_graceful_shutdown()
        if not hurry:
            await asyncio.sleep(self.settings.drain_delay_s)
        self._calls.refuse()
        finished = await self._calls.finish(0 if hurry else self.settings.drain_s)
        if self._server is not None:
            # Calls that the transport has, and we have not seen yet, are refused in this moment.
            await asyncio.sleep(0 if hurry else _SETTLE_S)
            self._calls.leave()
            # Our handlers are done; the last answers may still be on their way to slow readers.
            await self._server.stop(0 if hurry else _LINGER_S)
        await self.service.drain()
        _log.info("stopped", address=self.address, finished=finished)
