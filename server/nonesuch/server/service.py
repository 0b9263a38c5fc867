"""The service object: requests in our own terms -> encoded images. gRPC and HTTP are thin layers over it.

ImageRequest -> its model -> cache -> place in the queue -> LoadedModel.make -> MadeImage
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.walk import Walk, WalkFrames, walk_frames

from .batching.batcher import Ticket
from .batching.request_queue import Priority
from .image_cache import ImageCache
from .image_request import ImageRequest, MadeImage
from .loaded_model import LoadedModel
from .model_registry import ModelRegistry
from .server_metrics import ServerMetrics
from .settings import ServerSettings
from .tracing import Tracing

__all__ = ["ImageService"]

_MIB = 1 << 20


class ImageService:
    """Makes images on the models of a registry."""

    def __init__(
        self, registry: ModelRegistry, settings: ServerSettings, metrics: ServerMetrics, tracing: Tracing | None = None
    ) -> None:
        self.registry = registry
        self.settings = settings
        self.metrics = metrics
        self._tracing = tracing or Tracing()
        self.cache = ImageCache(settings.cache_mib * _MIB)
        metrics.watch_cache(self.cache)

    async def make(self, request: ImageRequest, *, deadline: float | None = None) -> MadeImage:
        """Make one image.

        Args:
            request: what to make.
            deadline: `time.monotonic()` after which the image is of no use; None is never.

        Raises:
            InvalidRequestError: a value is out of range or does not fit the model.
            ModelNotFoundError: no such model.
            OverloadedError: the queue is full, or the wait would be too long.
            DeadlineError: the deadline passed before the image was started, or cannot be met.
            UnavailableError: the server is starting or draining, or has lost its device.
            BackendError: the runtime failed.
        """
        async with self.registry.use(request.model) as model:
            model.check(request)
            key = self._key(model, request)
            if (kept := self._kept(key)) is not None:
                return kept
            return await self._make(model, request, model.batcher.admit(deadline, request.priority), key)

    async def make_many(
        self, requests: Sequence[ImageRequest], *, deadline: float | None = None
    ) -> AsyncGenerator[tuple[int, MadeImage], None]:
        """Make many images of one model and yield each with its index as soon as it is ready.

        The first is admitted or refused like a single image, the rest wait for room. Only as many as fill two batches
        are on their way at a time, so that a slow reader holds no more than that.

        Raises:
            InvalidRequestError: too many images, or as `make`; the rest as `make`.
        """
        most = self.settings.max_images_per_stream
        if not 1 <= len(requests) <= most:
            raise InvalidRequestError.of("sources", f"{len(requests)} images; a stream has 1 to {most}")
        async with self.registry.use(requests[0].model) as model:
            for index, request in enumerate(requests):
                model.check(request, f"sources[{index}].")
            first = model.batcher.admit(deadline, requests[0].priority)
            async with aclosing(self._make_admitted(model, requests, first, deadline)) as made_images:
                async for made in made_images:
                    yield made

    async def walk(
        self, walk: Walk, request: ImageRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[tuple[int, MadeImage], None]:
        """Make the frames of a walk and yield them in order; `request` says all but the latents.

        Raises:
            InvalidRequestError: a key frame does not fit, or too many frames; the rest as `make_many`.
        """
        request = replace(request, priority=Priority.BULK)
        async with self.registry.use(request.model) as model:
            model.check(request)
            latents = model.generator.latents
            for index, keyframe in enumerate(walk.keyframes):
                try:
                    latents.check(z=keyframe.z, w=keyframe.w)
                except InvalidRequestError as error:
                    raise error.under(f"keyframes[{index}].") from error
                if keyframe.w is not None and np.size(keyframe.w) != model.manifest.w_dim:
                    raise InvalidRequestError.of(
                        f"keyframes[{index}].w",
                        f"has {np.size(keyframe.w)} values; a walk goes through points of w, {model.manifest.w_dim}",
                    )
            with model.batcher.admit(deadline, request.priority) as ticket:
                frames = await model.on_mapping_thread(partial(walk_frames, latents, walk, request.picture))
                async with aclosing(self._in_order(model, frames, request, ticket, deadline)) as ordered:
                    async for made in ordered:
                        yield made

    async def drain(self) -> None:
        """Finish what was accepted, then give the devices and the threads back."""
        await self.registry.close()

    async def _make(
        self, model: LoadedModel, request: ImageRequest, ticket: Ticket, key: bytes | None = None
    ) -> MadeImage:
        made = await model.make(request, ticket)
        self.metrics.made(made)
        self._tracing.image(made)
        if key is not None:
            self.cache.put(key, made)
        return made

    async def _make_or_find(self, model: LoadedModel, request: ImageRequest, ticket: Ticket) -> MadeImage:
        key = self._key(model, request)
        if (kept := self._kept(key)) is not None:
            ticket.leave()
            return kept
        return await self._make(model, request, ticket, key)

    def _key(self, model: LoadedModel, request: ImageRequest) -> bytes | None:
        return request.fingerprint(model.build_id(request.encode)) if self.cache.enabled else None

    def _kept(self, key: bytes | None) -> MadeImage | None:
        return None if key is None else self.cache.get(key)

    async def _make_admitted(
        self, model: LoadedModel, requests: Sequence[ImageRequest], first: Ticket, deadline: float | None
    ) -> AsyncGenerator[tuple[int, MadeImage], None]:
        """`make_many` behind the checks; `first` is the first image's place."""
        batcher = model.batcher
        window = min(2 * batcher.target_size, batcher.most_streamed)
        tasks: dict[asyncio.Task[MadeImage], int] = {}
        remaining = iter(enumerate(requests))
        place: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
        place.set_result(first)
        following = next(remaining, None)
        try:
            while tasks or following is not None:
                # For a place, or for an image: what is ready does not wait for what has no place yet.
                waiting_for: set[asyncio.Future[Any]] = set(tasks)
                if following is not None and len(tasks) < window:
                    waiting_for.add(place)
                done, _ = await asyncio.wait(waiting_for, return_when=asyncio.FIRST_COMPLETED)
                if place in done and following is not None:
                    ticket, (index, request) = place.result(), following
                    task = asyncio.create_task(self._make_or_find(model, request, ticket))
                    # A task that is cancelled before its first step never enters its own `with ticket`.
                    task.add_done_callback(partial(_leave, ticket))
                    tasks[task] = index
                    following = next(remaining, None)
                    if following is not None:
                        place = asyncio.ensure_future(batcher.admit_when_free(deadline, first.priority))
                for finished in [task for task in tasks if task in done]:
                    yield tasks.pop(finished), finished.result()
        finally:
            first.leave()
            place.cancel()
            for task in tasks:
                task.cancel()
            left, *_ = await asyncio.gather(place, *tasks, return_exceptions=True)
            if isinstance(left, Ticket):
                left.leave()

    async def _in_order(
        self, model: LoadedModel, frames: WalkFrames, request: ImageRequest, ticket: Ticket, deadline: float | None
    ) -> AsyncGenerator[tuple[int, MadeImage], None]:
        """The frames of a walk, each behind its predecessor."""
        picture = replace(request.picture, psi=frames.psi)
        blank = replace(request, seed=None, picture=picture)
        requests = [replace(blank, z=row) if frames.kind == "z" else replace(blank, w=row) for row in frames.rows]
        early: dict[int, MadeImage] = {}
        following = 0
        async with aclosing(self._make_admitted(model, requests, ticket, deadline)) as made_images:
            async for index, made in made_images:
                early[index] = made
                while following in early:
                    yield following, early.pop(following)
                    following += 1


def _leave(ticket: Ticket, _: object) -> None:
    ticket.leave()
