"""Our generator beside MLPerf LoadGen, against a server whose time per image is set and not measured."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from nonesuch.benchmarks.serve.arrivals import Schedule
from nonesuch.benchmarks.serve.closed_loop import run_closed_loop
from nonesuch.benchmarks.serve.load_report import LoadReport
from nonesuch.benchmarks.serve.loadgen_scenario import ScenarioSettings, run_scenario
from nonesuch.benchmarks.serve.open_loop import run_open_loop
from nonesuch.client import AsyncClient

from .conftest import RunStalling

pytest.importorskip("mlperf_loadgen", reason="LoadGen is in the extra [bench]")

# Each image takes 30 ms of sleep and a few ms of work. The work is what varies, the more so on a busy machine; a
# generator that timed from the sending, or lost the queue, would be off by a factor in the Server scenario.
AGREEMENT = 0.25


# Something else on the machine can come between the two measurements; a generator that is wrong is wrong every time.
ATTEMPTS = 3

Ratios = dict[str, float]


async def check(measure: Callable[[], Awaitable[Ratios]]) -> None:
    """Ours over theirs, measured until they agree."""
    seen: list[Ratios] = []
    for _ in range(ATTEMPTS):
        seen.append(await measure())
        if all(ratio == pytest.approx(1, abs=AGREEMENT) for ratio in seen[-1].values()):
            return
    raise AssertionError(f"no agreement in {ATTEMPTS} attempts: {seen}")


async def test_one_at_a_time(run_stalling: RunStalling) -> None:
    async with run_stalling(max_batch_size=1) as (address, session), AsyncClient(address, retries=False) as client:
        session.image_s = 0.03

        async def measure() -> Ratios:
            settings = ScenarioSettings(scenario="SingleStream", address=address, min_query_count=20)
            theirs = await asyncio.to_thread(run_scenario, settings, limit_s=60)
            await run_closed_loop(client, itertools.count(), count=3)
            run = await run_closed_loop(client, itertools.count(100), count=len(theirs.issued_s))
            ours = LoadReport.of(run)
            return {
                "p50": ours.latency.p50 / theirs.latency_ms(50),
                "rate": ours.achieved_per_s / theirs.images_per_s,
            }

        await check(measure)


async def test_the_same_arrivals_wait_as_long_in_the_queue(run_stalling: RunStalling) -> None:
    async with run_stalling(max_batch_size=1) as (address, session), AsyncClient(address, retries=False) as client:
        session.image_s = 0.03

        async def measure() -> Ratios:
            # 60 arrivals a second where 30 can be served: each waits longer than the one before, up to 0.7 s.
            settings = ScenarioSettings(scenario="Server", address=address, min_query_count=40, target_per_s=60)
            theirs = await asyncio.to_thread(run_scenario, settings, limit_s=60)
            await run_closed_loop(client, itertools.count(), count=3)
            schedule = Schedule(np.asarray(theirs.issued_s))
            ours = LoadReport.of(await run_open_loop(client, schedule, itertools.count(100)))
            assert theirs.errors == ours.errors == {}
            assert ours.latency.p50 > 5 * 30
            return {
                "p50": ours.latency.p50 / theirs.latency_ms(50),
                "p90": ours.latency.p90 / theirs.latency_ms(90),
                "rate": ours.achieved_per_s / theirs.images_per_s,
            }

        await check(measure)
