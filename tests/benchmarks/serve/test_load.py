"""Records, arrivals, and closed and open loops against a real server in this process."""

from __future__ import annotations

import asyncio
import itertools
import re
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from nonesuch.benchmarks.result import BenchmarkError
from nonesuch.benchmarks.serve.load import (
    CUT_OFF,
    NOT_SENT,
    Answer,
    LoadRun,
    Record,
    closed_loop,
    open_loop,
    poisson_arrivals,
)
from nonesuch.benchmarks.serve.server import grpc_ask
from nonesuch.client import AsyncClient

from .conftest import RunStalling


def record(scheduled_s: float, latency_s: float, code: str = "OK", lag_s: float = 0.0) -> Record:
    return Record(scheduled_s, scheduled_s + lag_s, scheduled_s + latency_s, Answer(code))


def even(rate_per_s: float, count: int) -> NDArray[np.float64]:
    return np.arange(count) / rate_per_s


def test_rates_count_images_and_goodput_those_within_the_slo() -> None:
    # One a second: eight images, of which two are late, one refusal, one that got no answer in time.
    latencies_s = (0.1, 0.1, 0.2, 0.1, 0.9, 0.1, 0.2, 1.0)
    refused = [record(8, 0.01, "RESOURCE_EXHAUSTED"), record(9, 1.0, "DEADLINE_EXCEEDED")]
    run = LoadRun([record(float(i), latency) for i, latency in enumerate(latencies_s)] + refused, 1.0)
    assert run.rate_per_s() == pytest.approx(8 / 10)
    assert run.rate_per_s(within_ms=250) == pytest.approx(6 / 10)
    assert run.errors == {"RESOURCE_EXHAUSTED": 1, "DEADLINE_EXCEEDED": 1}
    assert run.latency_ms == pytest.approx(150)
    assert run.missed_schedule == ""


def test_goodput_is_timed_from_the_schedule() -> None:
    late = LoadRun([record(0, 0.1, lag_s=0.05)], 1.0)
    assert late.records[0].sending_latency_ms == pytest.approx(50)
    assert late.rate_per_s(within_ms=60) == 0


def test_a_miss_is_5_percent_of_the_median_late_and_1_ms_or_more() -> None:
    # The median is about 100 ms, so 5 ms is the tolerance; 1 % of misses is what may be.
    lags = [0.0] * 97 + [0.002, 0.004, 0.02]
    assert LoadRun([record(i, 0.1, lag_s=lag) for i, lag in enumerate(lags)], 1.0).missed_schedule == ""
    lags[0] = 0.03
    missed = LoadRun([record(i, 0.1, lag_s=lag) for i, lag in enumerate(lags)], 1.0).missed_schedule
    assert missed == "2 requests (2.0%) were sent more than 5.0 ms late, or not at all; the latest by 30.0 ms"
    quick = [record(i, 0.002, lag_s=lag) for i, lag in enumerate([0.0] * 8 + [0.0005, 0.0015])]
    assert LoadRun(quick, 1.0).missed_schedule.startswith("1 requests (10.0%) were sent more than 1.0 ms late")


def test_part_rates_show_a_closed_loop_that_slows_down() -> None:
    ends = [0.1 * n for n in range(1, 11)] + [1 + 0.2 * n for n in range(1, 11)]
    run = LoadRun([Record(0, 0, end, Answer("OK")) for end in ends])
    assert run.part_rates() == pytest.approx([10, 10 * 4 / 4, 4 / 0.6, 5, 5], rel=0.2)
    assert run.part_rates(parts=2) == pytest.approx([10, 5])
    assert len(LoadRun(run.records[:7]).part_rates()) == 1


def test_poisson_arrivals_have_exponential_gaps_of_the_rate() -> None:
    count, rate = 20_000, 25.0
    times_s = poisson_arrivals(rate, count, np.random.default_rng(7))
    gaps = np.diff(times_s, prepend=0.0)
    # Mean and deviation of an exponential are both 1 / rate. The estimates spread by 1/sqrt(n) and sqrt(2/n) of that:
    # 0.7 % and 1 % here; the seed is fixed, and 3 % is more than three times either.
    assert gaps.mean() * rate == pytest.approx(1, abs=0.03)
    assert gaps.std() * rate == pytest.approx(1, abs=0.03)
    # And no memory: neighbouring gaps are not correlated beyond the same spread.
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 0.03
    # Counts in windows of 1 s have a variance equal to their mean, which even or bursty arrivals do not.
    counts = np.histogram(times_s, bins=np.arange(0, int(times_s[-1])))[0]
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.15)  # 800 windows: 5 % of spread, three times that


def test_a_seed_repeats_its_arrivals_and_another_does_not() -> None:
    first, same, other = (poisson_arrivals(5, 50, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.parametrize(("rate", "count"), [(0, 5), (-1, 5), (float("nan"), 5), (float("inf"), 5), (1, 0)])
def test_rates_and_counts_that_are_refused(rate: float, count: int) -> None:
    with pytest.raises(BenchmarkError, match="give both above 0"):
        poisson_arrivals(rate, count, np.random.default_rng(0))


@pytest.mark.parametrize("times", [[], [1.0, 0.5], [-1.0], [float("nan")]])
async def test_times_that_are_not_a_schedule(times: list[float]) -> None:
    async def ask(seed: int, deadline_s: float) -> Answer:
        return Answer("OK")

    with pytest.raises(BenchmarkError, match="ascending"):
        await open_loop(ask, np.asarray(times, dtype=np.float64), itertools.count())


def slow_share(run: LoadRun) -> float:
    """The share of the requests that took more than half of the stall."""
    return sum(record.latency_ms > 100 for record in run.records) / len(run.records)


async def test_the_open_loop_shows_the_tail_that_the_closed_loop_hides(run_stalling: RunStalling) -> None:
    count, seeds = 200, itertools.count()
    async with run_stalling() as (address, session), AsyncClient(address, retries=False) as client:
        await closed_loop([grpc_ask(client)], seeds, count=5)
        session.stall(after=100)
        closed = await closed_loop([grpc_ask(client)], seeds, count=count)
        assert session.stall_at == 0, "it did not stall"
        session.stall(after=100)
        opened = await open_loop(grpc_ask(client), even(100, count), seeds)
        assert session.stall_at == 0, "it did not stall"
    assert all(record.ok for record in closed.records + opened.records)
    # The stall of 200 ms meets one request of the closed loop. In the open loop 20 arrive meanwhile, and 10 of them
    # wait for more than 100 ms. A busy machine adds slow requests to both; 3 leaves room for a few of them.
    assert slow_share(closed) >= 1 / count
    assert slow_share(opened) >= 3 * slow_share(closed)
    assert max(record.latency_ms for record in opened.records) >= 200
    # What waited, waited in the queue, and left it in batches.
    assert max(record.answer.queue_ms for record in opened.records) >= 100
    assert max(record.answer.batch_size for record in opened.records) > 1
    assert next(seeds) == 5 + 2 * count


async def test_a_late_generator_reports_its_misses_and_does_not_hide_them(run_stalling: RunStalling) -> None:
    async with run_stalling() as (address, _), AsyncClient(address, retries=False) as client:
        await closed_loop([grpc_ask(client)], itertools.count(), count=5)
        # Blocks the event loop that the generator, and here the server too, runs on: 10 sendings of 20 ms each.
        asyncio.get_running_loop().call_later(0.25, time.sleep, 0.2)
        run = await open_loop(grpc_ask(client), even(50, 40), itertools.count(100))
    found = re.match(r"(\d+) requests .*; the latest by ([\d.]+) ms", run.missed_schedule)
    assert found is not None
    assert int(found[1]) >= 5
    assert float(found[2]) >= 100
    worst = max(run.records, key=lambda record: record.lag_ms)
    assert worst.latency_ms == pytest.approx(worst.sending_latency_ms + worst.lag_ms)
    assert worst.latency_ms >= 100


async def test_requests_beyond_the_bound_in_flight_are_not_sent_and_count_as_missed(run_stalling: RunStalling) -> None:
    async with run_stalling() as (address, session), AsyncClient(address, retries=False) as client:
        session.stall(after=1)
        run = await open_loop(grpc_ask(client), even(100, 15), itertools.count(), max_in_flight=2)
    codes = [record.answer.code for record in run.records]
    assert codes[:2] == ["OK", "OK"]
    assert codes.count(NOT_SENT) >= 5  # the stall is 20 arrivals long
    assert run.errors == {NOT_SENT: codes.count(NOT_SENT)}
    assert "or not at all" in run.missed_schedule
    assert [record.scheduled_s for record in run.records] == pytest.approx(list(even(100, 15)))


async def test_a_run_ends_with_its_time(run_stalling: RunStalling) -> None:
    async with run_stalling() as (address, session), AsyncClient(address, retries=False) as client:
        session.stall_s = 1.0
        session.stall(after=2)
        schedule = np.array([0.0, 0.2, 0.25, 30.0])
        began = time.monotonic()
        run = await open_loop(grpc_ask(client), schedule, itertools.count(), limit_s=0.5)
        assert time.monotonic() - began < 15  # the schedule alone is 30 s
    assert [record.answer.code for record in run.records] == ["OK", CUT_OFF, CUT_OFF, NOT_SENT]


async def test_refusals_are_counted_by_their_code(run_stalling: RunStalling) -> None:
    async with run_stalling(queue_limit=1) as (address, session), AsyncClient(address, retries=False) as client:
        session.stall(after=2)
        run = await open_loop(grpc_ask(client), even(100, 12), itertools.count())
        late = await closed_loop([grpc_ask(client)], itertools.count(), count=1, deadline_s=1e-6)
    # One runs, one waits, the others that come within the 200 ms find the queue full.
    assert set(run.errors) == {"RESOURCE_EXHAUSTED"}
    assert run.errors["RESOURCE_EXHAUSTED"] >= 3
    assert late.records[0].answer.code == "DEADLINE_EXCEEDED"
    with pytest.raises(BenchmarkError, match=r"no image in 1 requests.*DEADLINE_EXCEEDED"):
        late.rate_per_s()


async def test_a_closed_loop_keeps_its_concurrency(run_stalling: RunStalling) -> None:
    async with run_stalling(max_batch_size=1) as (address, session), AsyncClient(address, retries=False) as client:
        session.image_s = 0.005
        run = await closed_loop([grpc_ask(client)] * 4, itertools.count(), count=24)
    assert len(run.records) == 24
    assert run.offered_per_s is None
    at_once = [
        sum(other.sent_s <= record.sent_s < other.done_s for other in run.records)  # the record itself included
        for record in run.records
    ]
    assert max(at_once) == 4
    with pytest.raises(BenchmarkError, match="one or more"):
        await closed_loop([grpc_ask(client)], itertools.count(), count=0)


async def test_past_saturation_the_server_falls_behind_and_below_it_does_not(run_stalling: RunStalling) -> None:
    async with run_stalling(max_batch_size=1) as (address, session), AsyncClient(address, retries=False) as client:
        session.image_s = 0.01
        ask, seeds, random = grpc_ask(client), itertools.count(), np.random.default_rng(3)
        await closed_loop([ask], seeds, count=5)
        calm, swamped = [await open_loop(ask, poisson_arrivals(rate, 40, random), seeds) for rate in (25, 400)]
    # At 10 ms an image there are no more than 100 a second: 40 that come within 0.1 s leave after 0.4 s at the soonest.
    assert swamped.rate_per_s() <= 100
    assert swamped.offered_per_s == pytest.approx(400, rel=0.5)  # of 40 random arrivals
    assert swamped.latency_ms > 2 * calm.latency_ms
    assert max(one.answer.queue_ms for one in swamped.done) > max(one.answer.queue_ms for one in calm.done)
    assert calm.rate_per_s() < swamped.rate_per_s()
