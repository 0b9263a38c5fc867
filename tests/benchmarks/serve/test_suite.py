"""The whole serving benchmark, short, against `nonesuch serve` with the tiny model."""

from __future__ import annotations

import pytest

from nonesuch.benchmarks.measurement import BenchmarkError
from nonesuch.benchmarks.serve import suite
from nonesuch.benchmarks.serve.suite import SUBJECT, ServeSettings, measure
from nonesuch.benchmarks.suite import Outcome, Request
from nonesuch.engine.artifact import Artifact

SHORT = ServeSettings(concurrency=(1, 3), loads=(0.3, 1.2), run_s=0.3, least=10, most=30, rounds=2, peak_steps=1)


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


def test_a_bound_that_is_given_is_kept_and_said(artifact: Artifact) -> None:
    settings = ServeSettings(concurrency=(1,), loads=(), run_s=0.1, least=4, most=4, slo_ms=0.001)
    found = {m.metric: m for m in measure(Request(model=str(artifact.folder), rounds=2), settings).measurements}
    assert found["slo"].samples == [0.001]
    assert found["slo"].detail.endswith("as given")
    assert found["goodput_per_s"].samples == [0.0, 0.0]  # nothing is made within a microsecond
    assert len(found["latency_from_sending"].samples) == 8


def test_another_picture_than_the_engine_s_is_not_timed(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = suite.expected_pictures(str(artifact.folder))
    monkeypatch.setattr(suite, "expected_pictures", lambda model: 255 - pictures)
    with pytest.raises(BenchmarkError, match="seed 0: it shows another picture"):
        measure(Request(model=str(artifact.folder)), SHORT)


def test_another_subject_is_not_started() -> None:
    assert measure(Request(model="no-such-model", subjects=("torch",))) == Outcome()


def test_settings_that_cannot_be_measured() -> None:
    with pytest.raises(BenchmarkError, match="start with concurrency 1"):
        ServeSettings(concurrency=(4,), loads=(), run_s=1, least=1, most=1)
