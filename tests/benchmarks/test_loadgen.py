from __future__ import annotations

import asyncio

import pytest

from nonesuch.benchmarks import loadgen
from nonesuch.benchmarks.loadgen import LOADGEN, OURS, RATIO, LoadGenSettings, measure
from nonesuch.benchmarks.measurement import BenchmarkError
from nonesuch.benchmarks.serve.loadgen_scenario import (
    ScenarioResult,
    ScenarioSettings,
    parse_summary,
    run_scenario,
)
from nonesuch.benchmarks.suite import Outcome, Request
from nonesuch.engine.artifact import Artifact

from ..conftest import RunServer

SUMMARY = """\
================================================
MLPerf Results Summary
================================================
SUT name : PySUT
Scenario : Server
Completed samples per second    : 102.25
Result is : INVALID
  Min duration satisfied : Yes
Recommendations:
 * Reduce the rate.
Additional Stats
50.00 percentile latency (ns)   : 3386535
90.00 percentile latency (ns)   : 5741152

================================================
Test Parameters Used
================================================
target_qps : 100
"""


def test_the_summary_is_read_up_to_the_parameters() -> None:
    summary = parse_summary(SUMMARY)
    assert "target_qps" not in summary
    result = ScenarioResult(summary=summary, issued_s=[0.0])
    assert result.images_per_s == 102.25
    assert result.latency_ms(50) == pytest.approx(3.386535)
    assert not result.valid
    with pytest.raises(BenchmarkError, match=r"no '99.90 percentile latency \(ns\)'"):
        result.latency_ms(99.9)


def test_every_scenario_by_both_generators(artifact: Artifact) -> None:
    pytest.importorskip("mlperf_loadgen", reason="LoadGen is in the extra [bench]")
    settings = LoadGenSettings(min_query_count=20, min_duration_s=0.2, load=0.3)
    outcome = measure(Request(model=str(artifact.folder), quick=True), settings)
    found = {(m.case["scenario"], m.subject, m.metric): m for m in outcome.measurements}
    for scenario in ("SingleStream", "Server", "Offline"):
        metrics = ["images_per_s"] if scenario == "Offline" else ["images_per_s", "latency_p50", "latency_p90"]
        for metric in metrics:
            (theirs,), (ours,) = (found[scenario, subject, metric].samples for subject in (LOADGEN, OURS))
            assert theirs > 0
            assert found[scenario, RATIO, f"{metric}_ratio"].samples == [pytest.approx(ours / theirs)]
            assert "VALID" in found[scenario, LOADGEN, metric].detail
            different = any(f"{scenario}: {metric} of {OURS} is" in flag for flag in outcome.flags)
            assert different == (abs(ours / theirs - 1) > 0.1)
    # The arrivals of both are the same and the server keeps up, so the rates can differ by the last answers alone:
    # some ten milliseconds, on a very busy machine a few times that, of 20 arrivals that take at least 0.2 s.
    assert found["Server", RATIO, "images_per_s_ratio"].samples == [pytest.approx(1, abs=0.5)]
    assert not outcome.skipped
    assert not any("got no image" in flag for flag in outcome.flags)


async def test_loadgen_s_failures_are_counted_and_do_not_hang(run_server: RunServer) -> None:
    pytest.importorskip("mlperf_loadgen", reason="LoadGen is in the extra [bench]")
    async with run_server() as server:
        settings = ScenarioSettings(
            scenario="SingleStream", address=server.address, min_query_count=5, first_seed=2**32 - 2
        )
        result = await asyncio.to_thread(run_scenario, settings, limit_s=60)
    # Seeds end at 2**32 - 1: two are there, and the client refuses the others.
    assert sum(result.errors.values()) == len(result.issued_s) - 2
    assert set(result.errors) == {"INVALID_ARGUMENT"}


def test_a_scenario_without_a_server_fails_in_one_line() -> None:
    pytest.importorskip("mlperf_loadgen", reason="LoadGen is in the extra [bench]")
    settings = ScenarioSettings(scenario="SingleStream", address="nowhere", min_query_count=1)
    with pytest.raises(BenchmarkError, match="LoadGen's SingleStream failed: ") as failure:
        run_scenario(settings, limit_s=60)
    assert "\n" not in str(failure.value)
    with pytest.raises(BenchmarkError, match=r"took longer than 0\.01 s"):
        run_scenario(settings, limit_s=0.01)


def test_without_loadgen_it_is_skipped_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loadgen, "find_spec", lambda name: None)
    (skipped,) = measure(Request(model="faces")).skipped
    assert "nonesuch[bench]" in skipped.reason
    assert measure(Request(model="faces", subjects=("openvino",))) == Outcome()
