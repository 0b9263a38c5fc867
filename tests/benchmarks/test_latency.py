from __future__ import annotations

import pytest

from nonesuch.benchmarks.latency import FLOOR, measure
from nonesuch.benchmarks.measurement import Measurement
from nonesuch.benchmarks.subjects.torch import REFERENCE_NAME
from nonesuch.benchmarks.suite import Request
from nonesuch.engine.errors import ModelNotFoundError


def test_every_subject_has_a_sample_of_every_round(tiny_model: str) -> None:
    said: list[str] = []
    subjects = ("eager", "onnxruntime", "openvino", "wheel", FLOOR)
    outcome = measure(Request(model=tiny_model, quick=True, rounds=2, subjects=subjects, say=said.append))
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
    outcome = measure(Request(model=tiny_model, quick=True, rounds=1, subjects=("onnxruntime",)))
    names: list[Measurement] = outcome.measurements
    assert [m.subject for m in names] == ["onnxruntime"]
    assert not outcome.skipped


def test_an_unknown_model_is_an_error() -> None:
    with pytest.raises(ModelNotFoundError):
        measure(Request(model="nobody", quick=True))
