from __future__ import annotations

import pytest

from nonesuch.benchmarks import throughput
from nonesuch.benchmarks.subjects.engine import EngineSubject
from nonesuch.benchmarks.suite import Request
from nonesuch.benchmarks.throughput import QUICK_SIZES, measure
from nonesuch.engine.session import Batch


def test_each_batch_size_is_measured_in_images_a_second(tiny_model: str) -> None:
    subjects = ("eager, inference form, channels_last", "onnxruntime")
    outcome = measure(Request(model=tiny_model, quick=True, rounds=2, subjects=subjects))
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
    monkeypatch.setattr(throughput, "line_up", lambda *_, **__: [Timed(tiny_model, "onnxruntime")])
    outcome = measure(Request(model=tiny_model, quick=True, rounds=2))
    assert {m.case["batch"]: m.samples for m in outcome.measurements} == {1: [10.0, 10.0], 4: [40.0, 40.0]}
