from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from nonesuch.engine.errors import (
    DeadlineError,
    OverloadedError,
    UnavailableError,
)
from nonesuch.server.core.batching.batcher import Batcher, BatcherLimits, Rendered
from nonesuch.server.core.batching.latency_model import LatencyModel
from nonesuch.server.core.batching.request_queue import Priority

from ....waiting import until
from ...conftest import PacedSession
from .rendering import render, start


async def test_a_batch_forms_while_the_device_is_busy_and_each_caller_gets_its_own_image(
    paced: Callable[..., PacedSession],
) -> None:
    session = paced(max_batch_size=4)
    batcher = Batcher(session, BatcherLimits(most=4, min_gain=0, queue_limit=100))
    session.gate.clear()
    tasks = await start(batcher, 9)
    session.gate.set()
    rendered = await asyncio.gather(*tasks)
    assert [int(result.image[0, 0, 0]) for result in rendered] == list(range(9))
    assert session.sizes == [1, 4, 4]
    assert [result.batch_size for result in rendered] == [1, 4, 4, 4, 4, 4, 4, 4, 4]
    await batcher.close()
    session.close()


async def test_an_image_beyond_the_limit_is_refused_without_effect_on_others(
    paced: Callable[..., PacedSession],
) -> None:
    session = paced()
    batcher = Batcher(session, BatcherLimits(most=1, queue_limit=3), LatencyModel(image_ms=50))
    session.gate.clear()
    tasks = await start(batcher, 4)
    with pytest.raises(OverloadedError, match="queue is full: 3 images wait") as caught:
        batcher.admit()
    assert 150 <= caught.value.retry_after_ms <= 200  # three that wait, and what is left of the one that runs
    session.gate.set()
    assert [int(r.image[0, 0, 0]) for r in await asyncio.gather(*tasks)] == [0, 1, 2, 3]
    assert batcher.waiting == 0
    await batcher.close()
    session.close()


async def test_cancelled_callers_leave_the_queue_and_never_reach_the_device(paced: Callable[..., PacedSession]) -> None:
    session = paced()
    batcher = Batcher(session, BatcherLimits(most=8, min_gain=0, queue_limit=100))
    session.gate.clear()
    tasks = await start(batcher, 10)
    for task in tasks[1::2]:
        task.cancel()
    await until(lambda: batcher.waiting == 4)
    session.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [int(r.image[0, 0, 0]) for r in results if isinstance(r, Rendered)] == [0, 2, 4, 6, 8]
    assert all(isinstance(r, asyncio.CancelledError) for r in results[1::2])
    assert session.sizes == [1, 4]
    await batcher.close()
    session.close()


async def test_a_member_cancelled_while_its_batch_runs_does_not_affect_the_others(
    paced: Callable[..., PacedSession],
) -> None:
    session = paced()
    batcher = Batcher(session, BatcherLimits(most=8, min_gain=0, queue_limit=100))
    session.gate.clear()
    tasks = await start(batcher, 3)
    tasks[0].cancel()
    session.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert [int(r.image[0, 0, 0]) for r in results[1:] if isinstance(r, Rendered)] == [1, 2]
    await batcher.close()
    session.close()


async def test_an_expired_image_is_answered_without_a_run(paced: Callable[..., PacedSession]) -> None:
    session = paced()
    batcher = Batcher(session, BatcherLimits(most=1, min_gain=0, queue_limit=100))
    session.gate.clear()
    first = asyncio.create_task(render(batcher, 0))
    await until(lambda: batcher.in_flight == 1)
    batcher.model.observe(1, 0.01)  # runs are quick, by all that is known, so the deadline looks possible
    batcher.model.observe(1, 0.01)
    late = asyncio.create_task(render(batcher, 1, time.monotonic() + 0.02))
    patient = asyncio.create_task(render(batcher, 2, time.monotonic() + 20))
    await asyncio.sleep(0.05)
    session.gate.set()
    with pytest.raises(DeadlineError, match="in the queue"):
        await late
    assert int((await patient).image[0, 0, 0]) == 2
    await first
    assert session.sizes == [1, 1]
    with pytest.raises(DeadlineError, match="when the request arrived"):
        batcher.admit(time.monotonic() - 1)
    await batcher.close()
    session.close()


async def test_queue_delay_waits_for_more_images_up_to_the_target_size(paced: Callable[..., PacedSession]) -> None:
    session = paced()
    batcher = Batcher(session, BatcherLimits(most=3, min_gain=0, queue_limit=100, queue_delay_ms=5_000))
    started = time.monotonic()
    rendered = await asyncio.gather(*(render(batcher, level) for level in range(3)))
    # Three are company enough: far below the delay of 5 s, however slow the machine.
    assert time.monotonic() - started < 4
    assert [r.batch_size for r in rendered] == [3, 3, 3]
    await batcher.close()
    session.close()


async def test_queue_delay_ends_without_more_images(paced: Callable[..., PacedSession]) -> None:
    session = paced()
    batcher = Batcher(session, BatcherLimits(most=3, min_gain=0, queue_limit=100, queue_delay_ms=30))
    rendered = await render(batcher, 1)
    assert rendered.batch_size == 1
    assert rendered.queue_ms >= 25  # it did wait; timers may be a little early
    await batcher.close()
    session.close()


async def test_closing_finishes_admitted_images_and_refuses_new_ones(paced: Callable[..., PacedSession]) -> None:
    session = paced(image_ms=2)
    batcher = Batcher(session, BatcherLimits(most=4, min_gain=0, queue_limit=100))
    tasks = [asyncio.create_task(render(batcher, level)) for level in range(20)]
    await until(lambda: batcher.waiting > 0)
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError, match="shutting down"):
        batcher.admit()
    assert [int(r.image[0, 0, 0]) for r in await asyncio.gather(*tasks)] == list(range(20))
    await closing
    session.close()


async def test_an_unused_place_is_released(paced: Callable[..., PacedSession]) -> None:
    session = paced()
    batcher = Batcher(session, BatcherLimits(most=1, min_gain=0, queue_limit=1))
    with batcher.admit():
        with pytest.raises(OverloadedError):
            batcher.admit()
        waiting = asyncio.create_task(batcher.admit_when_free())
        await asyncio.sleep(0.01)
        assert not waiting.done()
    with await waiting:
        assert batcher.waiting == 1
    assert batcher.waiting == 0
    await batcher.close()
    session.close()


async def test_a_deadline_that_cannot_be_met_is_refused_at_once(paced: Callable[..., PacedSession]) -> None:
    session = paced()
    batcher = Batcher(session, BatcherLimits(most=1, queue_limit=100), LatencyModel({1: 100.0}))
    batcher.queue.after_ms = 5
    with pytest.raises(DeadlineError, match="takes about 105 ms here"):  # even alone
        batcher.admit(time.monotonic() + 0.05)
    session.gate.clear()
    tasks = await start(batcher, 4)  # one runs, three wait: 400 ms
    with pytest.raises(OverloadedError, match="the answer would take about") as caught:
        batcher.admit(time.monotonic() + 0.3)
    assert 50 <= caught.value.retry_after_ms <= 600
    with batcher.admit(time.monotonic() + 30):
        pass
    session.gate.set()
    await asyncio.gather(*tasks)
    assert len(session.sizes) == 4
    await batcher.close()
    session.close()


async def test_a_wait_that_would_be_too_long_is_refused(paced: Callable[..., PacedSession]) -> None:
    session = paced()
    limits = BatcherLimits(most=1, queue_limit=100, max_wait_ms=250)
    batcher = Batcher(session, limits, LatencyModel({1: 100.0}))
    session.gate.clear()
    tasks = await start(batcher, 3)
    with pytest.raises(OverloadedError, match="and the max is 250"):
        batcher.admit()
    session.gate.set()
    await asyncio.gather(*tasks)
    await batcher.close()
    session.close()


async def test_an_outdated_prediction_is_tried_again(
    paced: Callable[..., PacedSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = paced()
    batcher = Batcher(session, BatcherLimits(most=1, queue_limit=100), LatencyModel({1: 60_000.0}))
    with pytest.raises(DeadlineError):
        batcher.admit(time.monotonic() + 5)
    monkeypatch.setattr("nonesuch.server.core.batching.decision._PROBE_S", 0.0)
    assert int((await render(batcher, 4, time.monotonic() + 5)).image[0, 0, 0]) == 4
    for _ in range(40):
        await render(batcher, 4, time.monotonic() + 5)
    monkeypatch.undo()
    assert int((await render(batcher, 5, time.monotonic() + 30)).image[0, 0, 0]) == 5
    await batcher.close()
    session.close()


async def test_visitors_leave_a_quarter_of_the_queue_and_bulk_half_of_it(
    paced: Callable[..., PacedSession],
) -> None:
    session = paced()
    batcher = Batcher(session, BatcherLimits(most=1, queue_limit=8))
    tickets = [batcher.admit(None, Priority.BULK) for _ in range(3)]
    tickets += [batcher.admit(None, Priority.VISITOR) for _ in range(3)]
    for priority in (Priority.VISITOR, Priority.BULK):  # six of eight: of bulk there may be four, but not beside these
        with pytest.raises(OverloadedError):
            batcher.admit(None, priority)
    tickets += [batcher.admit() for _ in range(2)]
    with pytest.raises(OverloadedError):
        batcher.admit()
    for ticket in tickets:
        ticket.leave()
    await batcher.close()
    session.close()


async def test_a_wait_includes_the_images_ahead(paced: Callable[..., PacedSession]) -> None:
    session = paced()
    batcher = Batcher(session, BatcherLimits(most=1, queue_limit=100), LatencyModel({1: 100.0}))
    tickets = [batcher.admit(None, priority) for priority in Priority]
    assert [round(batcher.wait_ms(priority)) for priority in Priority] == [100, 200, 300]
    for ticket in tickets:
        ticket.leave()
    await batcher.close()
    session.close()


async def test_bulk_gets_at_most_half_of_the_queue(paced: Callable[..., PacedSession]) -> None:
    session = paced()
    batcher = Batcher(session, BatcherLimits(most=1, queue_limit=4))
    tickets = [batcher.admit(None, Priority.BULK) for _ in range(2)]
    with pytest.raises(OverloadedError):
        batcher.admit(None, Priority.BULK)
    tickets += [batcher.admit() for _ in range(2)]
    with pytest.raises(OverloadedError):
        batcher.admit()
    for ticket in tickets:
        ticket.leave()
    assert batcher.waiting == 0
    await batcher.close()
    session.close()
