"""nonesuch.v1.AdminService over the registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from nonesuch.v1 import admin_service_pb2 as pb
from nonesuch.v1 import admin_service_pb2_grpc

from .loaded_model import LoadedModel
from .model_messages import state_message
from .model_registry import ModelRegistry

__all__ = ["AdminServicer"]

Context = grpc.aio.ServicerContext[Any, Any]


class AdminServicer(admin_service_pb2_grpc.AdminServiceServicer):
    """Changes what the server has; `drain` begins its end and returns at once."""

    def __init__(self, registry: ModelRegistry, drain: Callable[[], None]) -> None:
        self._registry = registry
        self._drain = drain

    async def ListModelStates(self, request: pb.ListModelStatesRequest, context: Context) -> pb.ListModelStatesResponse:  # noqa: N802 - the wire's name
        """All models of the configuration."""
        registry = self._registry
        states = [state_message(name, registry.peek(name), registry.settings) for name in registry.names]
        return pb.ListModelStatesResponse(models=states)

    async def LoadModel(self, request: pb.LoadModelRequest, context: Context) -> pb.LoadModelResponse:  # noqa: N802 - the wire's name
        """Load one."""
        return pb.LoadModelResponse(model=self._state(await self._registry.load(request.name)))

    async def UnloadModel(self, request: pb.UnloadModelRequest, context: Context) -> pb.UnloadModelResponse:  # noqa: N802 - the wire's name
        """Take one off its device."""
        return pb.UnloadModelResponse(was_loaded=await self._registry.unload(request.name))

    async def ReloadModel(self, request: pb.ReloadModelRequest, context: Context) -> pb.ReloadModelResponse:  # noqa: N802 - the wire's name
        """Put a new one in its place."""
        return pb.ReloadModelResponse(model=self._state(await self._registry.reload(request.name)))

    async def Drain(self, request: pb.DrainRequest, context: Context) -> pb.DrainResponse:  # noqa: N802 - the wire's name
        """Begin the end."""
        self._drain()
        return pb.DrainResponse()

    def _state(self, model: LoadedModel) -> pb.ModelState:
        return state_message(model.name, model, self._registry.settings)
