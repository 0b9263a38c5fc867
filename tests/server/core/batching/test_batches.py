from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from nonesuch.engine.session import SessionOptions
from nonesuch.server.core.batching.batcher import Batcher, BatcherLimits
from nonesuch.server.core.batching.latency_model import LatencyModel
from nonesuch.server.core.batching.request_queue import Priority

from ....waiting import until
from ...conftest import PacedSession
from .rendering import render, start


async def test_interactive_goes_first_and_bulk_is_not_starved(paced: Callable[..., PacedSession]) -> None:
    session = paced(max_batch_size=1)
    batcher = Batcher(session, BatcherLimits(most=1, queue_limit=100))
    session.gate.clear()
    order: list[int] = []

    async def one(level: int, priority: Priority) -> None:
        await render(batcher, level, None, priority)
        order.append(level)

    tasks = [asyncio.create_task(one(0, Priority.BULK))]
    await until(lambda: batcher.in_flight == 1)
    tasks += [asyncio.create_task(one(level, Priority.BULK)) for level in (101, 102)]
    tasks += [asyncio.create_task(one(level, Priority.INTERACTIVE)) for level in range(1, 13)]
    await until(lambda: batcher.waiting == 14)
    session.gate.set()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4, 5, 6, 7, 8, 101, 9, 10, 11, 12, 102]
    await batcher.close()
    session.close()


async def test_a_batch_stops_growing_when_a_member_would_be_late(paced: Callable[..., PacedSession]) -> None:
    session = paced()
    batcher = Batcher(session, BatcherLimits(most=8, min_gain=0, queue_limit=100), LatencyModel({1: 100.0, 8: 800.0}))
    session.gate.clear()
    tasks = [asyncio.create_task(render(batcher, 0))]
    await until(lambda: batcher.in_flight == 1)
    batcher.queue.model = LatencyModel({1: 1.0, 8: 8_000.0})  # eight at once would take 8 s
    tasks.append(asyncio.create_task(render(batcher, 1, time.monotonic() + 4)))
    tasks += [asyncio.create_task(render(batcher, level)) for level in range(2, 8)]
    await until(lambda: batcher.waiting == 7)
    session.gate.set()
    await asyncio.gather(*tasks)
    assert session.sizes[1] < 7
    assert sum(session.sizes) == 8
    await batcher.close()
    session.close()


async def test_bulk_fills_a_batch_only_within_the_time_of_one_whole_batch(
    paced: Callable[..., PacedSession],
) -> None:
    session = paced()
    batcher = Batcher(session, BatcherLimits(most=8, min_gain=0, queue_limit=100), LatencyModel({1: 30, 8: 100}))
    session.gate.clear()
    tasks = [asyncio.create_task(render(batcher, 0, None, Priority.BULK))]
    await until(lambda: batcher.in_flight == 1)
    tasks += [asyncio.create_task(render(batcher, level, None, Priority.BULK)) for level in range(1, 15)]
    waiting = asyncio.create_task(render(batcher, 20))
    await until(lambda: batcher.waiting == 15)
    await asyncio.sleep(0.15)  # longer than a batch of eight would take
    urgent = asyncio.create_task(render(batcher, 21, time.monotonic() + 8))
    await until(lambda: batcher.waiting == 16)
    session.gate.set()
    assert (await waiting).batch_size == 2  # with the other interactive one, and no bulk
    assert (await urgent).batch_size == 2
    await asyncio.gather(*tasks)
    assert session.sizes[:2] == [1, 2]
    await batcher.close()
    batcher = Batcher(session, BatcherLimits(most=8, min_gain=0, queue_limit=100), LatencyModel({1: 30, 8: 100}))
    fresh = await asyncio.gather(render(batcher, 1), *(render(batcher, n, None, Priority.BULK) for n in range(2, 7)))
    assert fresh[0].batch_size == 6  # it has not waited yet, so it may wait for one whole batch
    await batcher.close()
    session.close()


async def test_visitors_fill_the_batch_of_an_interactive_request(paced: Callable[..., PacedSession]) -> None:
    session = paced()
    batcher = Batcher(session, BatcherLimits(most=8, min_gain=0, queue_limit=100), LatencyModel({1: 3e4, 8: 1e5}))
    session.gate.clear()
    tasks = [asyncio.create_task(render(batcher, 0))]
    await until(lambda: batcher.in_flight == 1)
    tasks += [asyncio.create_task(render(batcher, level, None, Priority.VISITOR)) for level in range(1, 21)]
    await until(lambda: batcher.waiting == 20)
    caller = asyncio.create_task(render(batcher, 30))
    await until(lambda: batcher.waiting == 21)
    session.gate.set()
    # As many as let the caller have its image within the time of a whole batch, which is long here: it waits for some.
    assert 1 < (await caller).batch_size <= 8
    await asyncio.gather(*tasks)
    assert sum(session.sizes) == 22
    await batcher.close()
    session.close()


async def test_five_images_of_closed_sizes_run_as_four_and_one(paced: Callable[..., PacedSession]) -> None:
    class Profiles(PacedSession):
        batch_sizes = (1, 4, 8)

    session = Profiles(paced().artifact, SessionOptions(max_batch_size=8))
    session.open()
    session.gate.clear()
    batcher = Batcher(session, BatcherLimits(most=8, min_gain=0, queue_limit=100), LatencyModel({1: 10, 4: 20, 8: 40}))
    tasks = await start(batcher, 6)
    session.gate.set()
    rendered = await asyncio.gather(*tasks)
    assert [(r.batch_size, r.padded_size) for r in rendered] == [(1, 1), *[(4, 4)] * 4, (1, 1)]
    await batcher.close()
    session.close()
