from __future__ import annotations

import pytest

from nonesuch.benchmarks import speed
from nonesuch.benchmarks.result import Measurement, Request
from nonesuch.benchmarks.speed import FLOOR, QUICK_SIZES, measure_latency, measure_throughput
from nonesuch.benchmarks.subjects.subject import EngineSubject
from nonesuch.benchmarks.subjects.torch import REFERENCE_NAME
from nonesuch.engine.errors import ModelNotFoundError
from nonesuch.engine.session import Batch


def test_every_subject_has_a_sample_of_every_round(tiny_model: str) -> None:
    said: list[str] = []
    subjects = ("eager", "onnxruntime", "openvino", "wheel", FLOOR)
    outcome = measure_latency(Request(model=tiny_model, quick=True, rounds=2, subjects=subjects, say=said.append))
    found = {m.subject: m for m in outcome.measurements if m.metric == "latency"}
    assert {REFERENCE_NAME, "onnxruntime", "openvino", FLOOR} <= found.keys()
    assert sum("torch eager" in name for name in found) == 4
    for measurement in found.values():
        assert measurement.suite == "latency"
        assert (measurement.unit, measurement.case) == ("ms", {"batch": 1})
        assert len(measurement.samples) == 2
        assert min(measurement.samples) > 0
        assert measurement.detail
    assert found[FLOOR].better == "none"
    (arithmetic,) = [m for m in outcome.measurements if m.metric == "arithmetic"]
    assert arithmetic.samples[0] > 0
    assert [skipped.subject for skipped in outcome.skipped] == ["wheel network in OpenVINO"]
    assert said


def test_only_what_was_asked_for_is_measured(tiny_model: str) -> None:
    outcome = measure_latency(Request(model=tiny_model, quick=True, rounds=1, subjects=("onnxruntime",)))
    names: list[Measurement] = outcome.measurements
    assert [m.subject for m in names] == ["onnxruntime"]
    assert not outcome.skipped


def test_an_unknown_model_is_an_error() -> None:
    with pytest.raises(ModelNotFoundError):
        measure_latency(Request(model="nobody", quick=True))


def test_each_batch_size_is_measured_in_images_a_second(tiny_model: str) -> None:
    subjects = ("eager, inference form, channels_last", "onnxruntime")
    outcome = measure_throughput(Request(model=tiny_model, quick=True, rounds=2, subjects=subjects))
    found = {(m.subject, m.case["batch"]): m for m in outcome.measurements}
    names = {"torch eager, inference form, channels_last", "onnxruntime"}
    assert found.keys() == {(name, size) for name in names for size in QUICK_SIZES}
    for measurement in found.values():
        assert (measurement.metric, measurement.unit, measurement.better) == ("images_per_s", "1/s", "higher")
        assert len(measurement.samples) == 2


class Timed(EngineSubject):
    """One that says that every batch took a tenth of a second."""

    def time_ms(self, batch: Batch) -> float:
        return 100.0


def test_all_images_of_a_batch_count(tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "line_up", lambda *_, **__: [Timed(tiny_model, "onnxruntime")])
    outcome = measure_throughput(Request(model=tiny_model, quick=True, rounds=2))
    assert {m.case["batch"]: m.samples for m in outcome.measurements} == {1: [10.0, 10.0], 4: [40.0, 40.0]}
