"""nonesuch.v1.GenerationService over the service object."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from nonesuch.v1 import generation_service_pb2 as pb
from nonesuch.v1 import generation_service_pb2_grpc

from .service import ImageService
from .wire import generation_message, image_message, one_request, stream_requests, walk_request

__all__ = ["GenerationServicer"]

Context = grpc.aio.ServicerContext[Any, Any]


class GenerationServicer(generation_service_pb2_grpc.GenerationServiceServicer):
    """Translates, and nothing else."""

    def __init__(self, service: ImageService) -> None:
        self._service = service

    async def Generate(self, request: pb.GenerateRequest, context: Context) -> pb.GenerateResponse:  # noqa: N802 - the wire's name
        """Make one image."""
        made = await self._service.make(one_request(request), deadline=_deadline(context))
        return pb.GenerateResponse(image=image_message(made), generation=generation_message(made))

    async def GenerateStream(  # noqa: N802 - the wire's name
        self, request: pb.GenerateStreamRequest, context: Context
    ) -> AsyncIterator[pb.GenerateStreamResponse]:
        """Make many images."""
        requests = stream_requests(request, self._service.settings.max_images_per_stream)
        async with aclosing(self._service.make_many(requests, deadline=_deadline(context))) as images:
            async for index, made in images:
                yield pb.GenerateStreamResponse(
                    index=index, image=image_message(made), generation=generation_message(made)
                )

    async def Walk(self, request: pb.WalkRequest, context: Context) -> AsyncIterator[pb.WalkResponse]:  # noqa: N802 - the wire's name
        """Make the frames of a walk, in order."""
        walk, frame = walk_request(request, self._service.settings.max_images_per_stream)
        async with aclosing(self._service.walk(walk, frame, deadline=_deadline(context))) as frames:
            async for index, made in frames:
                yield pb.WalkResponse(index=index, image=image_message(made), generation=generation_message(made))


def _deadline(context: Context) -> float | None:
    """The call's deadline on our clock; None when the client set none."""
    remaining_s = context.time_remaining()
    return None if remaining_s is None else time.monotonic() + remaining_s
