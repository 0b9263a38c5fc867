"""The service that all protocols call: requests -> encoded images.

ImageRequest -> its model -> LoadedModel.make -> MadeImage
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.walk import Walk, walk_frames

from ..settings import ServerSettings
from .batching.request_queue import Priority
from .image_request import ImageRequest, MadeImage
from .image_stream import in_order, stream_images
from .model_registry import ModelRegistry


class ImageService:
    """Makes images with the models of a registry."""

    def __init__(self, registry: ModelRegistry) -> None:
        self.registry = registry

    @property
    def settings(self) -> ServerSettings:
        """The server's settings."""
        return self.registry.settings

    async def make(self, request: ImageRequest, *, deadline: float | None = None) -> MadeImage:
        """Make one image.

        Args:
            request: what to make.
            deadline: `time.monotonic()` after which the image is no longer needed; None for no deadline.

        Raises:
            InvalidRequestError: a value is out of range or does not fit the model.
            ModelNotFoundError: the model is not configured.
            OverloadedError: the queue is full, or the wait would be too long.
            DeadlineError: the deadline passed before the image's run, or cannot be met.
            UnavailableError: the server is starting or draining, or its device is lost.
            BackendError: the runtime failed.
        """
        async with self.registry.use(request.model) as model:
            return await model.make(request, deadline=deadline)

    async def make_many(
        self, requests: Sequence[ImageRequest], *, deadline: float | None = None
    ) -> AsyncGenerator[tuple[int, MadeImage], None]:
        """Make many images with one model and yield each with its index as soon as it is ready.

        The first is admitted or refused like a single image, the others wait for a place; see `stream_images`.

        Raises:
            InvalidRequestError: too many images, or as `make`.
            NonesuchError: as `make`.
        """
        max_images = self.settings.max_images_per_stream
        if not 1 <= len(requests) <= max_images:
            raise InvalidRequestError.of("sources", f"{len(requests)} images; a stream has 1 to {max_images}")
        async with self.registry.use(requests[0].model) as model:
            fitted = [model.fitted(request, f"sources[{index}].") for index, request in enumerate(requests)]
            first = model.batcher.admit(deadline, requests[0].priority)
            async with aclosing(stream_images(model, fitted, first, deadline)) as images:
                async for image in images:
                    yield image

    async def walk(
        self, walk: Walk, request: ImageRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[tuple[int, MadeImage], None]:
        """Make the frames of a walk and yield them in order; `request` has everything but their sources.

        Raises:
            InvalidRequestError: a key frame does not fit the model, or too many frames.
            NonesuchError: as `make_many`.
        """
        request = replace(request, priority=Priority.BULK)
        async with self.registry.use(request.model) as model:
            model.fitted(request)
            walk.check(model.manifest)
            with model.batcher.admit(deadline, request.priority) as first:
                latents, picture = model.generator.latents, request.picture
                frames = await model.on_mapping_thread(partial(walk_frames, latents, walk, picture))
                common = replace(request, picture=replace(picture, psi=frames.psi))
                source = frames.source
                requests = [replace(common, source=source[row : row + 1]) for row in range(len(source))]
                async with aclosing(in_order(stream_images(model, requests, first, deadline))) as images:
                    async for image in images:
                        yield image

    async def drain(self) -> None:
        """Finish all accepted requests, then release devices and threads."""
        await self.registry.close()
