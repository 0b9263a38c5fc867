"""Requests of one image to a batcher on a paced session: the requested level is the level of the picture."""

from __future__ import annotations

import asyncio

import numpy as np

from nonesuch.engine.session import Batch
from nonesuch.server.core.batching.batcher import Batcher, Rendered
from nonesuch.server.core.batching.request_queue import Priority

from ....waiting import until


def one_image(level: int) -> Batch:
    return Batch(np.full((1, 8, 12), level, dtype=np.float32))


async def render(
    batcher: Batcher, level: int, deadline: float | None = None, priority: Priority = Priority.INTERACTIVE
) -> Rendered:
    with batcher.admit(deadline, priority) as ticket:
        return await ticket.render(one_image(level))


async def start(batcher: Batcher, count: int) -> list[asyncio.Task[Rendered]]:
    """Levels 0 to count-1; the first is on the device before the others arrive, and they wait."""
    tasks = [asyncio.create_task(render(batcher, 0))]
    await until(lambda: batcher.in_flight == 1)
    tasks += [asyncio.create_task(render(batcher, level)) for level in range(1, count)]
    await until(lambda: batcher.waiting == count - 1)
    return tasks
