from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from nonesuch.engine.errors import OverloadedError
from nonesuch.server.core.batching.batcher import Batcher, BatcherLimits
from nonesuch.server.core.batching.places import Places
from nonesuch.server.core.batching.request_queue import Priority

from ....waiting import LONG_S
from ...conftest import PacedSession
from .rendering import one_image, render

INTERACTIVE, VISITOR, BULK = Priority


def fill(places: Places, priority: Priority, *, streamed: bool = False) -> int:
    """Take all free places of a priority; returns their number."""
    before = places.taken
    while places.has_room(priority, streamed=streamed):
        places.take(priority, streamed=streamed)
    return places.taken - before


@pytest.mark.parametrize(
    ("limit", "single", "streamed"),
    [(1, (1, 1, 1), (1, 1, 1)), (2, (2, 2, 1), (1, 1, 1)), (4, (4, 3, 2), (2, 2, 2)), (128, (128, 96, 64), (64,) * 3)],
)
def test_the_places_of_each_priority_alone(limit: int, single: tuple[int, ...], streamed: tuple[int, ...]) -> None:
    assert tuple(fill(Places(limit), priority) for priority in Priority) == single
    assert tuple(fill(Places(limit), priority, streamed=True) for priority in Priority) == streamed
    assert Places(limit).max_streamed == streamed[0]


def test_the_places_of_each_priority_beside_the_others() -> None:
    places = Places(128)
    assert fill(places, VISITOR) == 96
    assert fill(places, BULK) == fill(places, VISITOR, streamed=True) == 0
    assert fill(places, INTERACTIVE, streamed=True) == 16  # seven eighths are taken
    assert [places.ahead(priority) for priority in Priority] == [16, 112, 112]
    assert fill(places, INTERACTIVE) == 16
    places.leave(VISITOR)
    assert all(places.has_room(priority) for priority in (INTERACTIVE, VISITOR))

    places = Places(128)
    assert fill(places, INTERACTIVE, streamed=True) == 64
    assert fill(places, VISITOR) == 48
    assert fill(places, INTERACTIVE) == 16


@pytest.mark.parametrize("priority", Priority)
async def test_a_stream_gets_its_images_beside_a_permanent_crowd(
    paced: Callable[..., PacedSession], priority: Priority
) -> None:
    session = paced(image_ms=0.2)
    batcher = Batcher(session, BatcherLimits(most=4, queue_limit=16))
    over = False

    async def visit() -> None:
        while not over:
            try:
                await render(batcher, 1, None, VISITOR)
            except OverloadedError:
                await asyncio.sleep(0.001)

    async def stream(one: Priority, count: int) -> None:
        for _ in range(count):
            with await batcher.admit_when_free(None, one) as ticket:
                await ticket.render(one_image(2))

    visitors = [asyncio.create_task(visit()) for _ in range(32)]
    endless = [asyncio.create_task(stream(one, 1_000_000)) for one in Priority if one is not priority]
    async with asyncio.timeout(LONG_S):
        await stream(priority, 30)
    over = True
    for task in endless:
        task.cancel()
    await asyncio.gather(*visitors, *endless, return_exceptions=True)
    await batcher.close()
    session.close()
