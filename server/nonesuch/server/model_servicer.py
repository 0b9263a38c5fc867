"""nonesuch.v1.ModelService over the registry."""

from __future__ import annotations

from nonesuch.v1 import model_service_pb2 as pb
from nonesuch.v1 import model_service_pb2_grpc

from .generation_servicer import CallContext
from .model_messages import model_message
from .model_registry import ModelRegistry

__all__ = ["ModelServicer"]


class ModelServicer(model_service_pb2_grpc.ModelServiceServicer):
    """Says what the server has."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    async def ListModels(self, request: pb.ListModelsRequest, context: CallContext) -> pb.ListModelsResponse:  # noqa: N802 - the wire's name
        """All models that are loaded."""
        settings = self._registry.settings
        return pb.ListModelsResponse(models=[model_message(model, settings) for model in self._registry.loaded])

    async def GetModel(self, request: pb.GetModelRequest, context: CallContext) -> pb.GetModelResponse:  # noqa: N802 - the wire's name
        """One model; one that is loaded on demand is loaded."""
        async with self._registry.use(request.name) as model:
            return pb.GetModelResponse(model=model_message(model, self._registry.settings))
