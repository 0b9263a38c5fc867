"""Closed and open loops against a real server in this process."""

from __future__ import annotations

import asyncio
import itertools
import time

import numpy as np
import pytest

from nonesuch.benchmarks.measurement import BenchmarkError
from nonesuch.benchmarks.serve.arrivals import Schedule, constant_arrivals
from nonesuch.benchmarks.serve.closed_loop import run_closed_loop
from nonesuch.benchmarks.serve.load_report import LoadReport
from nonesuch.benchmarks.serve.open_loop import run_open_loop
from nonesuch.benchmarks.serve.request_record import CUT_OFF, NOT_SENT, LoadRun
from nonesuch.client import AsyncClient

from .conftest import RunStalling


def slow_share(run: LoadRun) -> float:
    """The share of the requests that took more than half of the stall."""
    return sum(record.latency_ms > 100 for record in run.records) / len(run.records)


async def test_the_open_loop_shows_the_tail_that_the_closed_loop_hides(run_stalling: RunStalling) -> None:
    count, seeds = 200, itertools.count()
    async with run_stalling() as (address, session), AsyncClient(address, retries=False) as client:
        await run_closed_loop(client, seeds, count=5)
        session.stall(after=100)
        closed = await run_closed_loop(client, seeds, count=count)
        assert session.stall_at == 0, "it did not stall"
        session.stall(after=100)
        opened = await run_open_loop(client, constant_arrivals(100, count), seeds)
        assert session.stall_at == 0, "it did not stall"
    assert all(record.ok for record in closed.records + opened.records)
    # The stall of 200 ms meets one request of the closed loop. In the open loop 20 arrive meanwhile, and 10 of them
    # wait for more than 100 ms. A busy machine adds slow requests to both; 3 leaves room for a few of them.
    assert slow_share(closed) >= 1 / count
    assert slow_share(opened) >= 3 * slow_share(closed)
    assert max(record.latency_ms for record in opened.records) >= 200
    # What waited, waited in the queue, and left it in batches.
    assert max(record.queue_ms for record in opened.records) >= 100
    assert max(record.batch_size for record in opened.records) > 1
    assert next(seeds) == 5 + 2 * count


async def test_a_late_generator_reports_its_misses_and_does_not_hide_them(run_stalling: RunStalling) -> None:
    async with run_stalling() as (address, _), AsyncClient(address, retries=False) as client:
        await run_closed_loop(client, itertools.count(), count=5)
        # Blocks the event loop that the generator, and here the server too, runs on: 10 sendings of 20 ms each.
        asyncio.get_running_loop().call_later(0.25, time.sleep, 0.2)
        run = await run_open_loop(client, constant_arrivals(50, 40), itertools.count(100))
    misses = LoadReport.of(run).misses
    assert misses.too_many
    assert misses.later_than_1_ms >= misses.missed >= 5
    assert misses.max_lag_ms >= 100
    worst = max(run.records, key=lambda record: record.lag_ms)
    assert worst.latency_ms == pytest.approx(worst.sending_latency_ms + worst.lag_ms)
    assert worst.latency_ms >= 100
    assert "requests" in str(misses)


async def test_requests_beyond_the_bound_in_flight_are_not_sent_and_count_as_missed(run_stalling: RunStalling) -> None:
    async with run_stalling() as (address, session), AsyncClient(address, retries=False) as client:
        session.stall(after=1)
        run = await run_open_loop(client, constant_arrivals(100, 15), itertools.count(), max_in_flight=2)
    codes = [record.code for record in run.records]
    assert codes[:2] == ["OK", "OK"]
    assert codes.count(NOT_SENT) >= 5  # the stall is 20 arrivals long
    report = LoadReport.of(run)
    assert report.errors == {NOT_SENT: codes.count(NOT_SENT)}
    assert report.misses.missed >= codes.count(NOT_SENT)
    assert [record.scheduled_s for record in run.records] == pytest.approx(list(constant_arrivals(100, 15).times_s))


async def test_a_run_ends_with_its_time(run_stalling: RunStalling) -> None:
    async with run_stalling() as (address, session), AsyncClient(address, retries=False) as client:
        session.stall_s = 1.0
        session.stall(after=2)
        schedule = Schedule(np.array([0.0, 0.2, 0.25, 30.0]))
        began = time.monotonic()
        run = await run_open_loop(client, schedule, itertools.count(), limit_s=0.5)
        assert time.monotonic() - began < 15  # the schedule alone is 30 s
    assert [record.code for record in run.records] == ["OK", CUT_OFF, CUT_OFF, NOT_SENT]


async def test_refusals_are_counted_by_their_code(run_stalling: RunStalling) -> None:
    async with run_stalling(queue_limit=1) as (address, session), AsyncClient(address, retries=False) as client:
        session.stall(after=2)
        run = await run_open_loop(client, constant_arrivals(100, 12), itertools.count())
        late = await run_closed_loop(client, itertools.count(), count=1, deadline_s=1e-6)
    report = LoadReport.of(run)
    # One runs, one waits, the others that come within the 200 ms find the queue full.
    assert set(report.errors) == {"RESOURCE_EXHAUSTED"}
    assert report.errors["RESOURCE_EXHAUSTED"] >= 3
    assert late.records[0].code == "DEADLINE_EXCEEDED"
    with pytest.raises(BenchmarkError, match=r"no image in 1 requests.*DEADLINE_EXCEEDED"):
        LoadReport.of(late)


async def test_a_closed_loop_keeps_its_concurrency(run_stalling: RunStalling) -> None:
    async with run_stalling(max_batch_size=1) as (address, session), AsyncClient(address, retries=False) as client:
        session.image_s = 0.005
        run = await run_closed_loop(client, itertools.count(), count=24, concurrency=4)
    assert len(run.records) == 24
    assert run.offered_per_s is None
    at_once = [
        sum(other.sent_s <= record.sent_s < other.done_s for other in run.records)  # the record itself included
        for record in run.records
    ]
    assert max(at_once) == 4
    with pytest.raises(BenchmarkError, match="at least 1"):
        await run_closed_loop(client, itertools.count(), count=0)
