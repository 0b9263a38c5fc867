"""The whole serving benchmark, short, against `nonesuch serve` with the tiny model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nonesuch.benchmarks.result import BenchmarkError, Outcome, Request
from nonesuch.benchmarks.serve.load import Answer, LoadRun, Record
from nonesuch.benchmarks.serve.server import SUBJECT
from nonesuch.benchmarks.serve.suite import MAX_SAMPLES, ServeSettings, add_runs, find_peak, kept_share, measure
from nonesuch.engine.artifact import Artifact
from nonesuch.engine.generator import Generator

# Ten requests, one a second: eight images, of which two are late, one refusal, one that got no answer in time.
LATENCIES_S = (0.1, 0.1, 0.2, 0.1, 0.9, 0.1, 0.2, 1.0)


def record(scheduled_s: float, latency_s: float, code: str = "OK", lag_s: float = 0.0) -> Record:
    answer = Answer(code, queue_ms=4.0, inference_ms=5.0, encode_ms=1.0, batch_size=2)
    return Record(scheduled_s, scheduled_s + lag_s, scheduled_s + latency_s, answer)


RUN = LoadRun(
    [record(float(i), latency) for i, latency in enumerate(LATENCIES_S)]
    + [record(8, 0.01, "RESOURCE_EXHAUSTED"), record(9, 1.0, "DEADLINE_EXCEEDED")],
    offered_per_s=1.0,
)
SHORT = ServeSettings(
    concurrency=(1, 3), loads=(0.3, 1.2), run_s=0.3, min_requests=10, max_requests=30, rounds=2, peak_steps=1
)


def test_every_case_is_measured_in_every_round(artifact: Artifact) -> None:
    said: list[str] = []
    outcome = measure(Request(model=str(artifact.folder), quick=True, say=said.append), SHORT)
    found = {m.key[1:-1]: m for m in outcome.measurements}
    assert len(found) == len(outcome.measurements)
    assert {m.suite for m in outcome.measurements} == {"serve"}
    assert {m.subject for m in outcome.measurements} == {SUBJECT}
    for load in (0.3, 1.2):
        case = (f"load={load}", "loop=open")
        assert len(found[("latency_from_schedule", *case)].samples) >= 20
        assert len(found[("goodput_per_s", *case)].samples) == 2
    for number in (1, 3):
        case = (f"concurrency={number}", "loop=closed")
        assert len(found[("latency_from_sending", *case)].samples) >= 20
        assert all(rate > 0 for rate in found[("images_per_s", *case)].samples)
    lower, higher = (found[("offered_per_s", f"load={load}", "loop=open")].samples for load in (0.3, 1.2))
    assert max(lower) < min(higher)  # a factor of 4 between the nominal rates, of 10 random arrivals or more
    assert "5 times the latency of one image" in found[("slo",)].detail
    peak = [m for m in outcome.measurements if m.metric == "peak_rate"]
    assert len(peak) + len(outcome.skipped) == 1
    assert any("closed loop, 3 at a time" in line for line in said)


def test_another_picture_than_the_engine_s_is_not_timed(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    with Generator.open(artifact.folder) as generator:
        pictures = generator.generate([0, 1])
    monkeypatch.setattr(Generator, "generate", lambda self, seeds: 255 - pictures)
    with pytest.raises(BenchmarkError, match="seed 0: it shows another picture"):
        measure(Request(model=str(artifact.folder)), SHORT)


def test_another_subject_is_not_started() -> None:
    assert measure(Request(model="no-such-model", subjects=("torch",))) == Outcome("serve")


def by_metric(runs: list[LoadRun]) -> dict[str, list[float]]:
    outcome = Outcome("serve")
    add_runs(outcome, runs, {"load": 0.5}, "a case", slo_ms=250)
    found = outcome.measurements
    assert len({measurement.key for measurement in found}) == len(found)
    return {" ".join([m.metric, str(m.case.get("code", ""))]).strip(): m.samples for m in found}


def flags(run: LoadRun) -> list[str]:
    outcome = Outcome("serve")
    add_runs(outcome, [run], {"load": 0.5}, "a case", slo_ms=250)
    return outcome.flags


def test_measurements_keep_requests_in_order_and_one_rate_a_round() -> None:
    found = by_metric([RUN, RUN])
    assert found["latency_from_schedule"] == pytest.approx([1e3 * latency for latency in LATENCIES_S * 2])
    assert found["goodput_per_s"] == pytest.approx([0.6, 0.6])
    assert found["offered_per_s"] == [1.0, 1.0]
    assert found["errors RESOURCE_EXHAUSTED"] == pytest.approx([0.1])
    assert len(found["schedule_lag"]) == 20
    closed = by_metric([replace(RUN, offered_per_s=None)])
    assert not {"latency_from_schedule", "schedule_lag", "offered_per_s"} & set(closed)
    assert {"latency_from_sending", "images_per_s", "queue", "inference", "encode", "batch_size"} <= set(closed)


def test_samples_are_bounded_and_spread_over_the_run() -> None:
    run = LoadRun([record(float(i), 0.1 + i) for i in range(MAX_SAMPLES * 3)], 1.0)
    samples = by_metric([run])["latency_from_schedule"]
    assert len(samples) == MAX_SAMPLES
    assert samples == sorted(samples)
    assert (samples[0], samples[-1]) == pytest.approx((100, 100 + 1e3 * (MAX_SAMPLES * 3 - 1)))


def test_flags_name_missed_schedules_and_failed_requests() -> None:
    assert flags(LoadRun([record(0, 0.1)], 1.0)) == []
    late = LoadRun([record(0, 0.1), record(1, 0.1, lag_s=0.05)], 1.0)
    assert "serve, a case: the generator missed its schedule: 1 requests (50.0%)" in flags(late)[0]
    assert "1 x DEADLINE_EXCEEDED, 1 x RESOURCE_EXHAUSTED" in flags(RUN)[-1]


async def test_the_peak_is_the_highest_rate_that_keeps_its_promise() -> None:
    tried: list[float] = []

    async def keeps(rate_per_s: float) -> bool:
        tried.append(rate_per_s)
        return rate_per_s <= 130

    assert await find_peak(keeps, 100, 200, steps=3) == 125
    assert tried == [100, 200, 150, 125, 137.5]
    assert await find_peak(keeps, 100, 120, steps=3) == 120
    assert await find_peak(keeps, 140, 200, steps=3) is None


def test_a_refusal_does_not_keep_the_promise() -> None:
    assert kept_share(RUN, slo_ms=250) == 0.6
    assert kept_share(RUN, slo_ms=1e6) == 0.8
