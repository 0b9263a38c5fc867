"""nonesuch.v1.GenerationService on top of `ImageService`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

from nonesuch.v1 import generation_service_pb2 as pb
from nonesuch.v1 import generation_service_pb2_grpc

from ..access.charging import CallContext, charged, deadline_of
from ..access.rate_limiter import RateLimiter
from ..core.batching.request_queue import Priority
from ..core.image_request import ImageRequest
from ..core.service import ImageService
from .answers import generation_message, image_message
from .requests import one_request, stream_requests, walk_request


class GenerationServicer(generation_service_pb2_grpc.GenerationServiceServicer):
    """Converts messages and charges images to the caller's limit."""

    def __init__(
        self, service: ImageService, limiter: RateLimiter, interactive: Priority = Priority.INTERACTIVE
    ) -> None:
        """`interactive` is the priority of requests that are not bulk."""
        self._service = service
        self._limiter = limiter
        self._interactive = interactive

    async def Generate(self, request: pb.GenerateRequest, context: CallContext) -> pb.GenerateResponse:  # noqa: N802 - the wire's name
        """Make one image."""
        wanted = self._with_priority(one_request(request))
        with charged(self._limiter, 1, bulk=wanted.priority is Priority.BULK):
            made = await self._service.make(wanted, deadline=deadline_of(context))
        return pb.GenerateResponse(image=image_message(made), generation=generation_message(made))

    async def GenerateStream(  # noqa: N802 - the wire's name
        self, request: pb.GenerateStreamRequest, context: CallContext
    ) -> AsyncIterator[pb.GenerateStreamResponse]:
        """Make many images."""
        requests = stream_requests(request, self._service.settings.max_images_per_stream)
        wanted = [self._with_priority(one) for one in requests]
        bulk = len(wanted) > 1 or wanted[0].priority is Priority.BULK
        with charged(self._limiter, len(wanted), bulk=bulk) as bill:
            async with aclosing(self._service.make_many(wanted, deadline=deadline_of(context))) as images:
                async for index, made in images:
                    bill.made += 1
                    yield pb.GenerateStreamResponse(
                        index=index, image=image_message(made), generation=generation_message(made)
                    )

    async def Walk(self, request: pb.WalkRequest, context: CallContext) -> AsyncIterator[pb.WalkResponse]:  # noqa: N802 - the wire's name
        """Make the frames of a walk, in order."""
        walk, frame = walk_request(request, self._service.settings.max_images_per_stream)
        with charged(self._limiter, walk.frame_count, bulk=True) as bill:
            async with aclosing(self._service.walk(walk, frame, deadline=deadline_of(context))) as frames:
                async for index, made in frames:
                    bill.made += 1
                    yield pb.WalkResponse(index=index, image=image_message(made), generation=generation_message(made))

    def _with_priority(self, wanted: ImageRequest) -> ImageRequest:
        if wanted.priority in {Priority.BULK, self._interactive}:
            return wanted
        return replace(wanted, priority=self._interactive)
