"""The artifact behind BentoML: a service that renders adaptive batches, and one in front of it that encodes.

Two services are BentoML's own form for a batch of requests of one item each: callers of a batchable method send lists.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import bentoml  # type: ignore[import-not-found, unused-ignore]
import numpy as np
from bentoml.validators import ContentType  # type: ignore[import-not-found, unused-ignore]
from renderer import Renderer, Settings, encode  # type: ignore[import-not-found]

SETTINGS = Settings.read()
TRAFFIC = {"timeout": 600}  # seconds
# BentoML learns how long to wait; the latency is the bound after which it refuses. It has no batches of one.
BATCHES = {"batchable": True, "max_batch_size": SETTINGS.max_batch_size, "max_latency_ms": 600_000}


@bentoml.service(workers=1, traffic=TRAFFIC)  # type: ignore[misc, unused-ignore]
class Render:
    """Seeds to pixels."""

    def __init__(self) -> None:
        self._renderer = Renderer(SETTINGS)

    @bentoml.api(**(BATCHES if SETTINGS.max_batch_size > 1 else {}))  # type: ignore[untyped-decorator, unused-ignore]
    def render(self, seeds: list[int]) -> np.ndarray:
        """The images of a batch, uint8 [N, H, W, C]."""
        return np.asarray(self._renderer.images(seeds))


@bentoml.service(workers=1, traffic=TRAFFIC)  # type: ignore[misc, unused-ignore]
class Faces:
    """{"seed": 1} to a JPEG."""

    renderer = bentoml.depends(Render)

    @bentoml.api  # type: ignore[untyped-decorator, unused-ignore]
    async def generate(self, seed: int) -> Annotated[bytes, ContentType("image/jpeg")]:
        """One image."""
        images = await self.renderer.to_async.render([seed])
        return await asyncio.to_thread(encode, np.asarray(images[0], dtype=np.uint8))
