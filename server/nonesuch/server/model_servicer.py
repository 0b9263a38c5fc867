"""nonesuch.v1.ModelService over the service object."""

from __future__ import annotations

from typing import Any

import grpc

from nonesuch.v1 import model_service_pb2 as pb
from nonesuch.v1 import model_service_pb2_grpc

from .service import ImageService
from .wire import model_message

__all__ = ["ModelServicer"]

Context = grpc.aio.ServicerContext[Any, Any]


class ModelServicer(model_service_pb2_grpc.ModelServiceServicer):
    """Says what the server has."""

    def __init__(self, service: ImageService) -> None:
        self._service = service

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:  # noqa: N802 - the wire's name
        """All models."""
        return pb.ListModelsResponse(models=[model_message(self._service)])

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:  # noqa: N802 - the wire's name
        """One model."""
        self._service.check_model(request.name)
        return pb.GetModelResponse(model=model_message(self._service))
