"""nonesuch.v1.GenerationService over the service object."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from nonesuch.engine.errors import NonesuchError
from nonesuch.engine.interpolation import frame_count
from nonesuch.v1 import generation_service_pb2 as pb
from nonesuch.v1 import generation_service_pb2_grpc

from .access.caller import CURRENT_CALLER
from .access.rate_limiter import RateLimiter
from .batching.request_queue import Priority
from .image_request import ImageRequest
from .service import ImageService
from .wire import generation_message, image_message, one_request, stream_requests, walk_request

__all__ = ["Bill", "CallContext", "GenerationServicer", "charged", "deadline_of"]


class CallContext(Protocol):
    """What our methods want of a call: of gRPC's context, or of another wire's."""

    def time_remaining(self) -> float | None:
        """Seconds until the call's deadline; None where the client set none."""


class GenerationServicer(generation_service_pb2_grpc.GenerationServiceServicer):
    """Translates, and lets nobody ask for more than is theirs."""

    def __init__(
        self, service: ImageService, limiter: RateLimiter, interactive: Priority = Priority.INTERACTIVE
    ) -> None:
        """`interactive` is the class of what is not asked for as bulk."""
        self._service = service
        self._limiter = limiter
        self._interactive = interactive

    async def Generate(self, request: pb.GenerateRequest, context: CallContext) -> pb.GenerateResponse:  # noqa: N802 - the wire's name
        """Make one image."""
        wanted = self._ranked(one_request(request))
        with charged(self._limiter, 1, bulk=wanted.priority is Priority.BULK):
            made = await self._service.make(wanted, deadline=deadline_of(context))
        return pb.GenerateResponse(image=image_message(made), generation=generation_message(made))

    async def GenerateStream(  # noqa: N802 - the wire's name
        self, request: pb.GenerateStreamRequest, context: CallContext
    ) -> AsyncIterator[pb.GenerateStreamResponse]:
        """Make many images."""
        requests = stream_requests(request, self._service.settings.max_images_per_stream)
        wanted = [self._ranked(one) for one in requests]
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
        count = frame_count(len(walk.keyframes), walk.frames_per_step, closed=walk.closed)
        with charged(self._limiter, count, bulk=True) as bill:
            async with aclosing(self._service.walk(walk, frame, deadline=deadline_of(context))) as frames:
                async for index, made in frames:
                    bill.made += 1
                    yield pb.WalkResponse(index=index, image=image_message(made), generation=generation_message(made))

    def _ranked(self, wanted: ImageRequest) -> ImageRequest:
        if wanted.priority in {Priority.BULK, self._interactive}:
            return wanted
        return replace(wanted, priority=self._interactive)


@dataclass
class Bill:
    """How many of the images that were counted have been made."""

    made: int = 0


@contextmanager
def charged(limiter: RateLimiter, images: int, *, bulk: bool = False) -> Iterator[Bill]:
    """Count images against the caller's limit; what is refused or fails meanwhile is given back. Bulk needs its scope.

    Raises:
        PermissionDeniedError: the caller's key does not allow bulk work.
        OverloadedError: the caller's limit is reached.
    """
    caller = CURRENT_CALLER.get()
    if bulk:
        caller.require("bulk")
    limiter.charge(caller, images)
    bill = Bill()
    try:
        yield bill
    except NonesuchError:
        limiter.refund(caller, images - bill.made)
        raise


def deadline_of(context: CallContext) -> float | None:
    """The call's deadline on our clock, `time.monotonic()`; None when the client set none."""
    remaining_s = context.time_remaining()
    return None if remaining_s is None else time.monotonic() + remaining_s
