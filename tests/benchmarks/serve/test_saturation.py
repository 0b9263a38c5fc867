from __future__ import annotations

import itertools

import numpy as np
import pytest

from nonesuch.benchmarks.serve.closed_loop import run_closed_loop
from nonesuch.benchmarks.serve.load_report import LoadReport
from nonesuch.benchmarks.serve.saturation import find_peak, judged_share, sweep_rates
from nonesuch.client import AsyncClient

from .conftest import RunStalling


async def test_past_saturation_the_server_falls_behind_and_below_it_does_not(run_stalling: RunStalling) -> None:
    async with run_stalling(max_batch_size=1) as (address, session), AsyncClient(address, retries=False) as client:
        session.image_s = 0.01
        seeds, random = itertools.count(), np.random.default_rng(3)
        await run_closed_loop(client, seeds, count=5)
        runs = [run async for run in sweep_rates(client, [25, 400], seeds, random, count=lambda rate: 40)]
    calm, swamped = (LoadReport.of(run, slo_ms=100) for run in runs)
    # At 10 ms an image there are no more than 100 a second: 40 that come within 0.1 s leave after 0.4 s at the soonest.
    assert swamped.achieved_per_s <= 100
    assert swamped.offered_per_s == pytest.approx(400, rel=0.5)  # of 40 random arrivals
    assert swamped.latency.p90 > 2 * calm.latency.p50
    assert swamped.queue.p90 > calm.queue.p50
    assert calm.achieved_per_s < swamped.achieved_per_s


async def test_the_peak_is_the_highest_rate_that_passed(run_stalling: RunStalling) -> None:
    async with run_stalling(max_batch_size=1) as (address, session), AsyncClient(address, retries=False) as client:
        session.image_s = 0.01
        seeds, random = itertools.count(), np.random.default_rng(3)
        await run_closed_loop(client, seeds, count=5)
        peak = await find_peak(
            client, seeds, random, between_per_s=(30, 400), slo_ms=150, count=30, steps=1, deadline_s=10
        )
        hopeless = await find_peak(client, seeds, random, between_per_s=(200, 400), slo_ms=1, count=10)
    assert peak.share == 0.9
    assert 1 <= len(peak.trials) <= 3
    assert [trial.passed for trial in peak.trials] == [trial.latency_ms <= 150 for trial in peak.trials]
    passed = [trial.rate_per_s for trial in peak.trials if trial.passed]
    assert peak.rate_per_s == max(passed, default=None)
    if passed:  # on a machine that is far too busy not even the lowest rate keeps the bound, which is an answer too
        assert not peak.trials[1].passed  # 400 per second are four times what it can do
    assert hopeless.rate_per_s is None
    assert len(hopeless.trials) == 1


def test_few_requests_cannot_speak_of_p99() -> None:
    assert (judged_share(659), judged_share(660)) == (0.9, 0.99)
