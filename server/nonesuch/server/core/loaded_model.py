"""One model on its device, and the steps of a request.

ImageRequest -> check -> cache -> place in the queue -> styles (CPU) -> batch (device) -> encode (threads) -> MadeImage
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from nonesuch.engine.downscale import check_size
from nonesuch.engine.encoder import EncodeOptions, EncoderPool
from nonesuch.engine.errors import DeviceLostError, InvalidRequestError
from nonesuch.engine.generator import Generator
from nonesuch.engine.latent_pipeline import PictureOptions
from nonesuch.engine.manifest import Manifest
from nonesuch.engine.provenance import ImageRecord
from nonesuch.engine.session import Batch
from nonesuch.engine.source import Seeds, W

from ..settings import ServerSettings
from .batching.batch_growth import BatchGrowth, measure_growth
from .batching.batcher import Batcher, BatcherLimits, QueuedImage
from .batching.latency_model import LatencyModel
from .image_cache import ImageCache
from .image_request import ImageRequest, ImageTiming, MadeImage
from .observer import Observer

_R = TypeVar("_R")
_MAX_CACHED_STYLES = 4096  # 8 MiB for a w of 512 values
_WEIGHT = 0.1  # of a new image in the average time after the run


class LoadedModel:
    """A model and its batcher; `start` loads it, `close` finishes accepted requests."""

    def __init__(
        self,
        name: str,
        generator: Generator,
        settings: ServerSettings,
        encoders: EncoderPool,
        cache: ImageCache,
        observer: Observer,
        on_lost: Callable[[DeviceLostError], None],
    ) -> None:
        self.name = name
        self.generator = generator
        self.last_used = time.monotonic()
        self.memory_mib = 0.0  # taken by loading it, as far as known
        self._settings = settings
        self._encoders = encoders
        self._cache = cache
        self._observer = observer
        self._on_lost = on_lost
        self._batcher: Batcher | None = None
        self._users = 0
        self._unused = asyncio.Event()
        self._mappers = ThreadPoolExecutor(1, thread_name_prefix="nonesuch-mapping")
        self._styles: LRUCache[tuple[int, int | None], NDArray[np.float32]] = LRUCache(_MAX_CACHED_STYLES)

    @property
    def manifest(self) -> Manifest:
        """The model's manifest."""
        return self.generator.manifest

    @property
    def batcher(self) -> Batcher:
        """The queue in front of the device; available after `start`."""
        assert self._batcher is not None  # noqa: S101  # the registry hands out started models only
        return self._batcher

    @property
    def in_use(self) -> bool:
        """Whether a call holds the model."""
        return self._users > 0

    async def start(self) -> None:
        """Load the model, warm it up and measure which batch sizes pay off.

        Raises:
            BackendError: the runtime rejects the graph or the device.
        """
        await self.on_mapping_thread(self.generator.load)
        growth = await self.on_mapping_thread(self._warm_up)
        settings = self._settings
        limits = BatcherLimits(
            most=growth.target_size,
            queue_limit=settings.queue_limit,
            min_gain=settings.min_batch_gain,
            queue_delay_ms=settings.queue_delay_ms,
            max_wait_ms=settings.max_wait_ms,
            run_timeout_s=settings.run_timeout_s,
        )
        self._batcher = Batcher(
            self.generator.session, limits, LatencyModel(growth.run_ms), self._on_lost,
            on_run=partial(self._observer.batch_ran, self.name),
        )  # fmt: skip
        self._observer.queue_opened(self.name, self._batcher)

    @contextmanager
    def use(self) -> Iterator[LoadedModel]:
        """Hold the model for a call: it stays on its device until the block ends."""
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            self.last_used = time.monotonic()
            if not self._users:
                self._unused.set()

    async def close(self, keep_session: Callable[[], bool] = lambda: False) -> None:
        """Finish accepted requests, then release the device and the threads.

        If `keep_session` is true then, the device is not touched.
        """
        while self._users:
            self._unused.clear()
            await self._unused.wait()
        if self._batcher is not None:
            await self._batcher.close()
            self._observer.queue_closed(self._batcher)
        if not keep_session():
            await asyncio.get_running_loop().run_in_executor(None, self.generator.close)
        # Mappings still running belong to cancelled calls; a busy thread must not delay the exit.
        self._mappers.shutdown(wait=False, cancel_futures=True)

    def fitted(self, request: ImageRequest, where: str = "source.") -> ImageRequest:
        """The request adapted to this model; an invalid one is refused before it takes a place.

        Args:
            request: the request.
            where: prefix of the source's field name in errors.

        Raises:
            InvalidRequestError: a value does not fit the model.
        """
        try:
            source = request.source.fit(self.manifest)
        except InvalidRequestError as error:
            raise error.under(where) from error
        noise = self.generator.session.variant.noise
        if request.noise_mode not in {None, noise}:
            raise InvalidRequestError.of(
                "noise_mode", f"{request.noise_mode} noise is not served; the model is loaded with {noise} noise"
            )
        if request.encode.size is not None:
            check_size(request.encode.size, self.manifest.resolution)
        return request if source is request.source else replace(request, source=source)

    def build_id(self, encode: EncodeOptions | None = None) -> str:
        """16 hex digits over all that decides an image's bytes: model, variant, backend and, if given, encoder."""
        if encode is None:
            return self.generator.build_id
        parts = (self.generator.build_id, self.name, encode.identity)  # the name is written into the images
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    async def make(self, request: ImageRequest, *, deadline: float | None = None) -> MadeImage:
        """Make one image, or find it in the cache.

        Args:
            request: the request.
            deadline: in `time.monotonic()`, after which the image is useless; None means without a deadline.

        Raises:
            NonesuchError: as `fitted`, `Batcher.admit` and `make_admitted`.
        """
        request = self.fitted(request)
        key = self._key(request)
        if (cached := self._cached(key)) is not None:
            return cached
        return await self._make(request, self.batcher.admit(deadline, request.priority), key)

    async def make_admitted(self, request: ImageRequest, queued: QueuedImage) -> MadeImage:
        """Make one image that is checked and admitted, or find it in the cache and release its place.

        Raises:
            NonesuchError: as `QueuedImage.render`, or the values are out of range.
        """
        key = self._key(request)
        if (cached := self._cached(key)) is not None:
            queued.leave()
            return cached
        return await self._make(request, queued, key)

    async def on_mapping_thread(self, function: Callable[[], _R]) -> _R:
        """Run a function on the mapping thread."""
        return await asyncio.get_running_loop().run_in_executor(self._mappers, function)

    def _key(self, request: ImageRequest) -> bytes | None:
        return request.fingerprint(self.build_id(request.encode)) if self._cache.enabled else None

    def _cached(self, key: bytes | None) -> MadeImage | None:
        return None if key is None else self._cache.get(key)

    async def _make(self, request: ImageRequest, queued: QueuedImage, key: bytes | None) -> MadeImage:
        arrived = time.monotonic()
        with queued:
            batch = await self.on_mapping_thread(partial(self._prepare, request))
            rendered = await queued.render(batch)
        shaped_by = request.picture.describe()
        record = ImageRecord(self.name, self.manifest.model_id, request.seed, request.psi, shaped_by)
        encoding = time.monotonic()
        data = await asyncio.wrap_future(self._encoders.submit(rendered.image, request.encode, record))
        finished = time.monotonic()
        encode_ms = (finished - encoding) * 1e3
        queue = self.batcher.queue
        queue.after_ms += _WEIGHT * (encode_ms - queue.after_ms)
        height, width, channels = rendered.image.shape
        made = MadeImage(
            data=data,
            options=request.encode,
            width=request.encode.size or width,
            height=request.encode.size or height,
            channels=channels,
            model=self.name,
            model_id=self.manifest.model_id,
            build_id=self.build_id(request.encode),
            seed=request.seed,
            psi=request.psi,
            timing=ImageTiming(
                queue_ms=rendered.queue_ms,
                inference_ms=rendered.inference_ms,
                encode_ms=encode_ms,
                total_ms=(finished - arrived) * 1e3,
            ),
            batch_size=rendered.batch_size,
            padded_size=rendered.padded_size,
        )
        self._observer.image_made(made)
        if key is not None:
            self._cache.put(key, made)
        return made

    def _warm_up(self) -> BatchGrowth:
        latents, w_dim = self.generator.latents, self.manifest.w_dim
        latents.warm_up()

        def make_batch(size: int) -> Batch:
            # Different rows, so that equal ones cannot speed up a runtime.
            return latents.batch(W(np.random.RandomState(0).randn(size, w_dim)), PictureOptions())

        settings = self._settings
        return measure_growth(
            self.generator.session, make_batch, settings.min_batch_gain, timeout_s=settings.run_timeout_s
        )

    def _prepare(self, request: ImageRequest) -> Batch:
        """The inputs of the run; called on the mapping thread."""
        latents, picture, source = self.generator.latents, request.picture, request.source
        if isinstance(source, Seeds) and not picture.mixing:
            # Same result as from the seed, but with its cached w.
            noise_seed = source.seeds[0] if picture.noise_seed is None else picture.noise_seed
            known = replace(picture, psi=request.psi, noise_seed=noise_seed)
            return latents.batch(W(self._mapped(source, picture)), known)
        return latents.batch(source, picture)

    def _mapped(self, source: Seeds, picture: PictureOptions) -> NDArray[np.float32]:
        """The untruncated w of a seed, float32 [1, w_dim]; those of recent seeds are cached."""
        key = (source.seeds[0], picture.class_index)
        w = self._styles.get(key)
        if w is None:
            w = self._styles[key] = self.generator.latents.map(source, picture)
        return w
