"""A few faces that nobody has seen yet, made ahead, so that a visitor need not wait; each is given to one visitor only.

    refill -> ready -> take (a seed for a visitor) -> promised -> claim (its picture, once)

Only plain faces are made ahead: the default model and psi, as JPEG of full size. They are bulk work, so that nobody who
waits for a picture waits for one that nobody asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import replace

from cachetools import LRUCache

from nonesuch.engine.errors import NonesuchError
from nonesuch.engine.source import Seeds

from ..core.batching.request_queue import Priority
from ..core.image_request import ImageRequest, MadeImage, fresh_seed
from ..core.service import ImageService
from .image_address import BUILD_DIGITS, ImageAddress

_MAX_PROMISED = 64  # a visitor who never fetches the picture; the oldest is forgotten, and would be made again


class FreshFaces:
    """Keeps `count` faces ready; used on the event loop alone."""

    def __init__(self, service: ImageService, count: int) -> None:
        self._service = service
        self._count = count
        self._ready: deque[MadeImage] = deque()
        self._promised: LRUCache[str, MadeImage] = LRUCache(_MAX_PROMISED)
        self._refilling: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def ready(self) -> int:
        """How many wait for a visitor."""
        return len(self._ready)

    def take(self, address: ImageAddress) -> tuple[ImageAddress, bool]:
        """A fresh address for a visitor, and whether its picture is there already.

        `address` says what the visitor wants and has a fresh seed, which it keeps where nothing of the kind is ready.
        """
        default = self._service.registry.names[0]
        plain = replace(
            address,
            psi=None if address.psi == Seeds.default_psi else address.psi,
            model="" if address.model == default else address.model,
        )
        if plain != ImageAddress(address.seed):
            return address, False
        made = self._next()
        if made is None or made.seed is None:
            return address, False
        address = replace(address, seed=made.seed)
        self._promised[address.path(made.model, made.build_id[:BUILD_DIGITS])] = made
        return address, True

    def claim(self, path: str) -> MadeImage | None:
        """The picture of an address that was promised; the second time it is made like any other.

        Only whoever fetches a picture, and is charged for it, has another made ahead.
        """
        self.refill()
        return self._promised.pop(path, None)

    def refill(self) -> None:
        """Make what is missing, in the background."""
        registry = self._service.registry
        if (
            len(self._ready) < self._count
            and not (self._stopped or registry.draining or self._refilling)
            and registry.peek("") is not None
        ):
            self._refilling = asyncio.get_running_loop().create_task(self._refill())

    async def stop(self) -> None:
        """Make nothing more."""
        self._stopped = True
        if self._refilling is not None:
            self._refilling.cancel()
            await asyncio.gather(self._refilling, return_exceptions=True)

    def _next(self) -> MadeImage | None:
        """The next that today's build has made; a model that was replaced leaves old ones behind."""
        while self._ready:
            made = self._ready.popleft()
            model = self._service.registry.peek("")
            if model is not None and model.build_id(made.options) == made.build_id:
                return made
        return None

    async def _refill(self) -> None:
        try:
            # A server that is busy, draining or without its device has no faces to spare; the next visitor asks again.
            with contextlib.suppress(NonesuchError):
                while len(self._ready) < self._count and not self._service.registry.draining:
                    request = ImageRequest(Seeds([fresh_seed()]), priority=Priority.BULK)
                    self._ready.append(await self._service.make(request))
        finally:
            self._refilling = None
