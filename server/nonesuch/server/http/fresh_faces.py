"""Renders a few faces ahead, so that visitors need not wait. Each face goes to one visitor only.

    refill -> ready -> take (a seed for a visitor) -> promised -> claim (its picture, once)

Only default faces are rendered ahead: the default model and psi, as JPEG of full size. They run at bulk priority, so
they never delay a real request.
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

_MAX_PROMISED = 64  # pictures that visitors have not fetched yet; the oldest is dropped, and rendered again if fetched


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
        """The number of faces that wait for a visitor."""
        return len(self._ready)

    def take(self, address: ImageAddress) -> tuple[ImageAddress, bool]:
        """A fresh address for a visitor, and whether its picture is ready.

        `address` holds the visitor's options and a fresh seed, which it keeps if no such picture is ready.
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
        """The picture of a promised address, once; later requests render it like any other.

        Only this call, which is charged to the caller, starts a refill.
        """
        self.refill()
        return self._promised.pop(path, None)

    def refill(self) -> None:
        """Render the missing faces in the background."""
        registry = self._service.registry
        if (
            len(self._ready) < self._count
            and not (self._stopped or registry.draining or self._refilling)
            and registry.peek("") is not None
        ):
            self._refilling = asyncio.get_running_loop().create_task(self._refill())

    async def stop(self) -> None:
        """Stop rendering."""
        self._stopped = True
        if self._refilling is not None:
            self._refilling.cancel()
            await asyncio.gather(self._refilling, return_exceptions=True)

    def _next(self) -> MadeImage | None:
        """The next face of the current build; faces of a replaced model are dropped."""
        while self._ready:
            made = self._ready.popleft()
            model = self._service.registry.peek("")
            if model is not None and model.build_id(made.options) == made.build_id:
                return made
        return None

    async def _refill(self) -> None:
        try:
            # A server that is busy, draining or without its device stops here; the next claim tries again.
            with contextlib.suppress(NonesuchError):
                while len(self._ready) < self._count and not self._service.registry.draining:
                    request = ImageRequest(Seeds([fresh_seed()]), priority=Priority.BULK)
                    self._ready.append(await self._service.make(request))
        finally:
            self._refilling = None
