"""The service object: requests in our own terms -> encoded images. gRPC, and later HTTP, are thin layers over it.

ImageRequest -> place in the queue -> styles (CPU) -> batch (device) -> encode (threads) -> MadeImage
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from functools import partial

import numpy as np

from nonesuch.engine.encoder import EncodeOptions, EncoderPool
from nonesuch.engine.errors import FieldViolation, InvalidRequestError, ModelNotFoundError, UnavailableError
from nonesuch.engine.generator import Generator
from nonesuch.engine.latent_pipeline import PictureOptions
from nonesuch.engine.latents import DEFAULT_PSI
from nonesuch.engine.manifest import Manifest
from nonesuch.engine.provenance import ImageRecord
from nonesuch.engine.session import Batch
from nonesuch.engine.walk import Walk, WalkFrames, walk_frames

from .batch_growth import BatchGrowth, measure_growth
from .batcher import Batcher, BatcherLimits, Ticket
from .image_request import ImageRequest, ImageTiming, MadeImage
from .settings import ServerSettings

__all__ = ["ImageService"]


class ImageService:
    """One loaded model behind a batcher; `start` makes it ready, `drain` finishes what was accepted."""

    def __init__(self, generator: Generator, settings: ServerSettings) -> None:
        self.generator = generator
        self.settings = settings
        self.growth: BatchGrowth | None = None
        self._batcher: Batcher | None = None
        self._encoders = EncoderPool(settings.encode_threads)
        self._mappers = ThreadPoolExecutor(1, thread_name_prefix="nonesuch-mapping")

    @property
    def manifest(self) -> Manifest:
        """The model's manifest."""
        return self.generator.manifest

    async def start(self) -> None:
        """Load the model, warm it up and measure how far batches pay.

        Raises:
            BackendError: the runtime refuses the graph or the device.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._mappers, self.generator.load)
        self.growth = await loop.run_in_executor(self._mappers, self._measure)
        limits = BatcherLimits(
            target_size=self.growth.target_size,
            queue_limit=self.settings.queue_limit,
            queue_delay_ms=self.settings.queue_delay_ms,
            image_ms=self.growth.image_ms,
        )
        self._batcher = Batcher(self.generator.session, limits)

    async def drain(self) -> None:
        """Finish what was accepted, then give the device and the threads back."""
        if self._batcher is not None:
            await self._batcher.close()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self.generator.close)
        # What still maps belongs to calls that are gone; a thread that is busy must not hold up the exit.
        self._mappers.shutdown(wait=False, cancel_futures=True)
        self._encoders.close()

    def check_model(self, name: str) -> None:
        """Pass if the server has that model; empty is the default.

        Raises:
            ModelNotFoundError: it has not.
        """
        if name not in {"", self.manifest.name}:
            raise ModelNotFoundError(f"no model {name!r} on this server; it has {self.manifest.name!r}")

    async def make(self, request: ImageRequest, *, deadline: float | None = None) -> MadeImage:
        """Make one image.

        Args:
            request: what to make.
            deadline: `time.monotonic()` after which the image is of no use; None is never.

        Raises:
            InvalidRequestError: a value is out of range or does not fit the model.
            ModelNotFoundError: no such model.
            OverloadedError: the queue is full.
            DeadlineError: the deadline passed before the image was started.
            UnavailableError: the server is starting or draining.
            BackendError: the runtime failed.
        """
        self._check(request)
        return await self._make(request, self._ready().admit(deadline))

    async def make_many(
        self, requests: Sequence[ImageRequest], *, deadline: float | None = None
    ) -> AsyncGenerator[tuple[int, MadeImage], None]:
        """Make many images and yield each with its index as soon as it is ready.

        The first is admitted or refused like a single image, the rest wait for room. Only as many as fill two batches
        are on their way at a time, so that a slow reader holds no more than that.

        Raises:
            InvalidRequestError: too many images, or as `make`; the rest as `make`.
        """
        most = self.settings.max_images_per_stream
        if not 1 <= len(requests) <= most:
            raise InvalidRequestError(FieldViolation("sources", f"{len(requests)} images; a stream has 1 to {most}"))
        for index, request in enumerate(requests):
            self._check(request, f"sources[{index}].")
        batcher = self._ready()
        async with aclosing(self._make_admitted(requests, batcher.admit(deadline), deadline)) as made_images:
            async for made in made_images:
                yield made

    async def _make_admitted(
        self, requests: Sequence[ImageRequest], first: Ticket, deadline: float | None
    ) -> AsyncGenerator[tuple[int, MadeImage], None]:
        """`make_many` behind the checks; `first` is the first image's place."""
        batcher = self._ready()
        window = min(2 * batcher.limits.target_size, batcher.limits.stream_limit)
        tasks: dict[asyncio.Task[MadeImage], int] = {}
        remaining = iter(enumerate(requests))
        first_ticket: Ticket | None = first
        try:
            while True:
                while len(tasks) < window and (item := next(remaining, None)) is not None:
                    index, request = item
                    ticket, first_ticket = first_ticket or await batcher.admit_when_free(deadline), None
                    task = asyncio.create_task(self._make(request, ticket))
                    # A task that is cancelled before its first step never enters its own `with ticket`.
                    task.add_done_callback(partial(_leave, ticket))
                    tasks[task] = index
                if not tasks:
                    return
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield tasks.pop(task), task.result()
        finally:
            first.leave()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _check(self, request: ImageRequest, where: str = "source.") -> None:
        """Refuse what this server could never make, before it takes a place; `where` is its source in the message."""
        self.check_model(request.model)
        try:
            self.generator.latents.check(z=request.z, w=request.w)
        except InvalidRequestError as error:
            raise error.under(where) from error
        noise = self.generator.session.variant.noise
        if request.noise_mode not in {None, noise}:
            problem = f"{request.noise_mode} noise is not served; the model is loaded with {noise} noise"
            raise InvalidRequestError(FieldViolation("noise_mode", problem))

    async def walk(
        self, walk: Walk, request: ImageRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[tuple[int, MadeImage], None]:
        """Make the frames of a walk and yield them in order; `request` says all but the latents.

        Raises:
            InvalidRequestError: a key frame does not fit, or too many frames; the rest as `make_many`.
        """
        self._check(request)
        for index, keyframe in enumerate(walk.keyframes):
            try:
                self.generator.latents.check(z=keyframe.z, w=keyframe.w)
            except InvalidRequestError as error:
                raise error.under(f"keyframes[{index}].") from error
        with self._ready().admit(deadline) as ticket:
            frames = await asyncio.get_running_loop().run_in_executor(
                self._mappers, walk_frames, self.generator.latents, walk, request.picture
            )
            async with aclosing(self._in_order(frames, request, ticket, deadline)) as ordered:
                async for made in ordered:
                    yield made

    async def _in_order(
        self, frames: WalkFrames, request: ImageRequest, ticket: Ticket, deadline: float | None
    ) -> AsyncGenerator[tuple[int, MadeImage], None]:
        """The frames of a walk, each behind its predecessor."""
        picture = replace(request.picture, psi=frames.psi)
        blank = replace(request, seed=None, picture=picture)
        requests = [replace(blank, z=row) if frames.kind == "z" else replace(blank, w=row) for row in frames.rows]
        early: dict[int, MadeImage] = {}
        following = 0
        async with aclosing(self._make_admitted(requests, ticket, deadline)) as made_images:
            async for index, made in made_images:
                early[index] = made
                while following in early:
                    yield following, early.pop(following)
                    following += 1

    async def _make(self, request: ImageRequest, ticket: Ticket) -> MadeImage:
        arrived = time.monotonic()
        with ticket:
            batch = await asyncio.get_running_loop().run_in_executor(self._mappers, self._prepare, request)
            rendered = await ticket.render(batch)
        psi = _applied_psi(request)
        record = ImageRecord(self.manifest.name, self.manifest.model_id, request.seed, psi)
        encoding = time.monotonic()
        data = await asyncio.wrap_future(self._encoders.submit(rendered.image, request.encode, record))
        finished = time.monotonic()
        height, width, channels = rendered.image.shape
        return MadeImage(
            data=data,
            options=request.encode,
            width=width,
            height=height,
            channels=channels,
            model=self.manifest.name,
            model_id=self.manifest.model_id,
            build_id=self.build_id(request.encode),
            seed=request.seed,
            psi=psi,
            timing=ImageTiming(
                queue_ms=rendered.queue_ms,
                inference_ms=rendered.inference_ms,
                encode_ms=(finished - encoding) * 1e3,
                total_ms=(finished - arrived) * 1e3,
            ),
            batch_size=rendered.batch_size,
            padded_size=rendered.padded_size,
        )

    def build_id(self, encode: EncodeOptions | None = None) -> str:
        """16 hex digits over model, variant, backend and, where given, encoder: what decides an image's bytes."""
        if encode is None:
            return self.generator.build_id
        parts = (self.generator.build_id, self.manifest.name, encode.identity)  # the name is written into the images
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def _measure(self) -> BatchGrowth:
        latents, manifest = self.generator.latents, self.manifest
        latents.warm_up()

        def make_batch(size: int) -> Batch:
            # Different rows, so that no runtime can profit from equal ones.
            rows = np.random.RandomState(0).randn(size, manifest.w_dim)
            return latents.batch(PictureOptions(), w=rows)

        return measure_growth(self.generator.session, make_batch, self.settings.min_batch_gain)

    def _prepare(self, request: ImageRequest) -> Batch:
        latents = self.generator.latents
        z = None if request.z is None else np.asarray(request.z)[None]
        w, ws = latents.split_w(request.w)
        seeds = None if request.seed is None else [request.seed]
        return latents.batch(request.picture, seeds=seeds, z=z, w=w, ws=ws)

    def _ready(self) -> Batcher:
        if self._batcher is None:
            raise UnavailableError("the server is still loading its model; try again in a few seconds")
        return self._batcher


def _leave(ticket: Ticket, _: object) -> None:
    ticket.leave()


def _applied_psi(request: ImageRequest) -> float:
    if request.picture.psi is not None:
        return request.picture.psi
    return DEFAULT_PSI if request.w is None else 1.0
