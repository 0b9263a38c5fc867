"""Makes many images with one model: at most two batches at a time, each image yielded as soon as it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from .batching.batcher import QueuedImage
from .image_request import ImageRequest, MadeImage
from .loaded_model import LoadedModel


async def stream_images(
    model: LoadedModel, requests: Sequence[ImageRequest], first: QueuedImage, deadline: float | None
) -> AsyncGenerator[tuple[int, MadeImage], None]:
    """Make validated requests, and yield each image with its index as soon as it is ready.

    At most two batches are in progress at a time, which bounds what a slow reader occupies.

    Args:
        model: the model; the caller holds it.
        requests: one or more.
        first: the place of the first image; the others wait for places.
        deadline: `time.monotonic()` after which they are no longer needed; None for no deadline.

    Raises:
        NonesuchError: as `LoadedModel.make`.
    """
    batcher = model.batcher
    window = min(2 * batcher.target_size, batcher.max_streamed)
    tasks: dict[asyncio.Task[MadeImage], int] = {}
    remaining = iter(enumerate(requests))
    place: asyncio.Future[QueuedImage] = asyncio.get_running_loop().create_future()
    place.set_result(first)
    following = next(remaining, None)
    try:
        while tasks or following is not None:
            # Wait for a place or an image, so that a ready image does not wait for a place.
            waiting_for: set[asyncio.Future[Any]] = set(tasks)
            if following is not None and len(tasks) < window:
                waiting_for.add(place)
            done, _ = await asyncio.wait(waiting_for, return_when=asyncio.FIRST_COMPLETED)
            if place in done and following is not None:
                queued, (index, request) = place.result(), following
                task = asyncio.create_task(model.make_admitted(request, queued))
                # A task cancelled before its first step never enters its own `with queued`.
                task.add_done_callback(partial(_release, queued))
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
        if isinstance(left, QueuedImage):
            left.leave()


async def in_order(
    images: AsyncGenerator[tuple[int, MadeImage], None],
) -> AsyncGenerator[tuple[int, MadeImage], None]:
    """The same images in the order of their indices."""
    early: dict[int, MadeImage] = {}
    following = 0
    async with aclosing(images):
        async for index, made in images:
            early[index] = made
            while following in early:
                yield following, early.pop(following)
                following += 1


def _release(queued: QueuedImage, _: object) -> None:
    queued.leave()
