r"""The models of a server: configured, loaded, unloaded and reloaded.

    configured --load, or the first request--> loaded --unload, or memory is needed--> configured
                                                 \--reload: the new model is ready before the old one is replaced

A call holds its model (`use`), so a model is never unloaded during a call.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from nonesuch.engine.artifact import find_artifact
from nonesuch.engine.encoder import EncoderPool
from nonesuch.engine.errors import (
    DeviceLostError,
    InvalidRequestError,
    ModelNotFoundError,
    NonesuchError,
    OverloadedError,
    UnavailableError,
)

from ..settings import ModelSettings, ServerSettings
from .batching.queued_image import shutting_down
from .image_cache import ImageCache
from .loaded_model import LoadedModel
from .observer import LoadReport, Observer
from .open_model import OpenGenerator, open_generator, resident_mib, size_mib

_LOADING_RETRY_MS = 5000
_MIB = 1 << 20


class ModelRegistry:
    """The models by name; the first is the default. Used only on the event loop."""

    def __init__(
        self,
        settings: ServerSettings,
        *,
        observer: Observer,
        open_model: OpenGenerator = open_generator,
        on_lost: Callable[[DeviceLostError], None] = lambda error: None,
    ) -> None:
        """Raises InvalidRequestError if a name is not unique, NonesuchError if an artifact is not found."""
        self.settings = settings
        self.cache = ImageCache(settings.cache_mib * _MIB)
        self._observer = observer
        self._open_model = open_model
        self._on_lost = on_lost
        self._encoders = EncoderPool(settings.encode_threads)
        self._configured: dict[str, ModelSettings] = {}
        for model in settings.models:
            name = model.name or find_artifact(model.model).manifest.name
            if name in self._configured:
                raise InvalidRequestError.of("models", f"two models have the name {name!r}; rename one of them")
            self._configured[name] = model
        self.draining = False
        self._loaded: dict[str, LoadedModel] = {}
        self._locks = {name: asyncio.Lock() for name in self._configured}
        self._loading = asyncio.Lock()  # one load at a time, so that its memory can be measured
        # Loading and closing run in the registry's tasks, so a cancelled caller does not cancel them.
        self._starting: dict[str, asyncio.Task[LoadedModel]] = {}
        self._waiting: Counter[str] = Counter()
        self._closing: dict[asyncio.Task[None], LoadedModel] = {}
        self._device_lost = False

    @property
    def names(self) -> Sequence[str]:
        """The configured models, the default first."""
        return tuple(self._configured)

    @property
    def loaded(self) -> list[LoadedModel]:
        """The loaded models, in the order of `names`."""
        return [self._loaded[name] for name in self._configured if name in self._loaded]

    @property
    def ready(self) -> bool:
        """Whether all models with `load = "start"` are loaded, and all devices work."""
        here = all(name in self._loaded for name, model in self._configured.items() if model.load == "start")
        return here and not self.draining and all(model.batcher.lost is None for model in self._loaded.values())

    def configured(self, name: str) -> tuple[str, ModelSettings]:
        """A model's name and settings; an empty name means the default model.

        Raises:
            ModelNotFoundError: the name is not configured.
        """
        found = name or next(iter(self._configured), "")
        if found not in self._configured:
            known = ", ".join(map(repr, self._configured)) or "none"
            raise ModelNotFoundError(f"no model {name!r} on this server; it has {known}")
        return found, self._configured[found]

    def peek(self, name: str) -> LoadedModel | None:
        """The model if it is loaded, otherwise None. Raises ModelNotFoundError."""
        return self._loaded.get(self.configured(name)[0])

    async def start(self) -> None:
        """Load the models with `load = "start"`.

        Raises:
            BackendError: a model cannot be loaded.
        """
        for name, model in self._configured.items():
            if model.load == "start":
                await self.load(name)

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[LoadedModel]:
        """Hold a model for a call, and load it first if its setting is `load = "demand"`.

        Raises:
            ModelNotFoundError: the name is not configured.
            OverloadedError: too many calls wait for the model to load.
            UnavailableError: the model is not loaded, or cannot be loaded.
        """
        model = self.peek(name)
        if model is None:
            model = await self._load_on_demand(name)
        with model.use():
            yield model

    async def load(self, name: str) -> LoadedModel:
        """Load a model unless it is loaded. Concurrent callers share one load.

        Raises:
            ModelNotFoundError: the name is not configured.
            NonesuchError: it cannot be loaded; the server continues without it.
        """
        name, settings = self.configured(name)
        if name in self._loaded:
            return self._loaded[name]
        starting = self._starting.get(name)
        if starting is None:
            starting = self._starting[name] = asyncio.create_task(self._load(name, settings))
            starting.add_done_callback(partial(self._started, name))
        return await asyncio.shield(starting)

    async def unload(self, name: str) -> bool:
        """Unload a model after the calls that hold it; returns whether it was loaded.

        Raises:
            ModelNotFoundError: the name is not configured.
        """
        name, _ = self.configured(name)
        async with self._locks[name]:
            old = self._loaded.pop(name, None)
            if old is not None:
                await asyncio.shield(self._close_soon(old))
            return old is not None

    async def reload(self, name: str) -> LoadedModel:
        """Load a model again from its artifact and replace the loaded one in one step.

        Calls that hold the old model finish on it. If the new model cannot be loaded, the old one stays.

        Raises:
            ModelNotFoundError: the name is not configured.
            NonesuchError: the new model cannot be loaded.
        """
        name, settings = self.configured(name)
        return await asyncio.shield(asyncio.create_task(self._reload(name, settings)))

    async def close(self) -> None:
        """Finish all accepted requests and unload all models; may be called again after a cancellation."""
        self.draining = True
        await asyncio.gather(*self._starting.values(), return_exceptions=True)  # loading cannot be interrupted
        for name in list(self._loaded):
            self._close_soon(self._loaded.pop(name))
        await asyncio.shield(asyncio.gather(*self._closing))
        self._encoders.close()

    async def _load(self, name: str, settings: ModelSettings) -> LoadedModel:
        async with self._locks[name]:
            if name not in self._loaded:
                self._loaded[name] = await self._start(name, settings)
            return self._loaded[name]

    async def _reload(self, name: str, settings: ModelSettings) -> LoadedModel:
        async with self._locks[name]:
            new = await self._start(name, settings)
            old, self._loaded[name] = self._loaded.get(name), new
            if old is not None:
                self._close_soon(old)
            return new

    def _started(self, name: str, task: asyncio.Task[LoadedModel]) -> None:
        self._starting.pop(name, None)
        if not task.cancelled():
            task.exception()  # mark as retrieved: callers get it too, and may all be gone

    async def _load_on_demand(self, name: str) -> LoadedModel:
        name, settings = self.configured(name)
        if settings.load == "start":
            if name in self._starting:
                raise UnavailableError("the server is still loading its model; try again in a few seconds")
            raise UnavailableError(f"model {name!r} is not loaded; try again later, or ask its operator to load it")
        if self.draining:
            raise shutting_down()
        if self._waiting[name] >= self.settings.queue_limit:
            raise OverloadedError(
                f"{self._waiting[name]} calls wait for model {name!r} to load; try again in a few seconds",
                retry_after_ms=_LOADING_RETRY_MS,
            )
        self._waiting[name] += 1
        try:
            return await self.load(name)
        except (UnavailableError, OverloadedError):
            raise
        except NonesuchError as error:
            # The reason may name folders, so only the operator sees it.
            self._observer.load_failed(name, error)
            raise UnavailableError(f"model {name!r} cannot be loaded now; the server's log has the reason") from error
        finally:
            self._waiting[name] -= 1

    async def _start(self, name: str, settings: ModelSettings) -> LoadedModel:
        async with self._loading:
            loop, began = asyncio.get_running_loop(), time.monotonic()
            generator = await loop.run_in_executor(None, self._open_model, settings, self.settings.max_batch_size)
            await self._make_room(size_mib(generator), keep=name)
            before_mib = resident_mib()
            model = LoadedModel(
                name, generator, self.settings, self._encoders, self.cache, self._observer, self._on_device_lost
            )
            try:
                await model.start()
            except BaseException as error:
                self._device_lost |= isinstance(error, DeviceLostError)
                self._close_soon(model)
                raise
            model.memory_mib = max(size_mib(generator), resident_mib() - before_mib)
            self._observer.model_loaded(
                LoadReport(
                    name,
                    generator.session.identity,
                    generator.backend_reason,
                    model.batcher.limits.most,
                    model.batcher.model.known,
                    model.memory_mib,
                    time.monotonic() - began,
                )
            )
            return model

    async def _make_room(self, needed_mib: float, keep: str) -> None:
        """Unload idle models, the least recently used first, until the new one fits.

        Raises:
            UnavailableError: it does not fit beside the models that must stay.
        """
        bound = self.settings.model_memory_mib
        if bound is None:
            return
        while self._resident_mib() + needed_mib > bound:
            idle = [
                (model.last_used, name)
                for name, model in self._loaded.items()
                if name != keep and not model.in_use and self._configured[name].load == "demand"
            ]
            if not idle:
                raise UnavailableError(
                    f"model {keep!r} needs about {needed_mib:.0f} MiB, and the models that stay leave less of "
                    f"{bound} MiB; try again later"
                )
            _, name = min(idle)
            self._observer.model_evicted(name, keep)
            await asyncio.shield(self._close_soon(self._loaded.pop(name)))

    def _resident_mib(self) -> float:
        """Memory of all models on their devices, including those that are being closed."""
        return sum(model.memory_mib for model in (*self._loaded.values(), *self._closing.values()))

    def _on_device_lost(self, error: DeviceLostError) -> None:
        self._device_lost = True
        self._on_lost(error)

    def _close_soon(self, model: LoadedModel) -> asyncio.Task[None]:
        """Close a removed model after its last call, in a task."""
        task = asyncio.get_running_loop().create_task(self._close(model))
        self._closing[task] = model
        task.add_done_callback(self._closing.pop)
        return task

    async def _close(self, model: LoadedModel) -> None:
        # If the device hangs, closing a session would hang too.
        await model.close(keep_session=lambda: self._device_lost)
        self._observer.model_unloaded(model.name)
