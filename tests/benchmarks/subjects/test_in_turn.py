from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from nonesuch.benchmarks.interleaved import Plan
from nonesuch.benchmarks.result import BenchmarkError, Outcome, Request
from nonesuch.benchmarks.subjects.in_turn import OpenSubjects
from nonesuch.benchmarks.subjects.subject import EngineSubject, Subject, Workload
from nonesuch.engine.session import Batch, SessionOptions

PLAN = Plan(rounds=3, warm_up=1, settle_s=0.0)


class Mirrored(EngineSubject):
    """The engine's pictures, left for right."""

    def run(self, batch: Batch) -> NDArray[np.uint8]:
        return np.ascontiguousarray(super().run(batch)[:, :, ::-1])


class Missing(EngineSubject):
    """One whose runtime is not there."""

    def open(self) -> None:
        raise BenchmarkError("nothing to run it with")


class Clocked(EngineSubject):
    """One whose device has a clock of its own, which shows the number of the run."""

    def run(self, batch: Batch) -> NDArray[np.uint8]:
        self.device_ms = (self.device_ms or 0.0) + 1.0
        return super().run(batch)


class Sleepy(EngineSubject):
    """The engine, 30 ms slower."""

    def run(self, batch: Batch) -> NDArray[np.uint8]:
        time.sleep(0.03)
        return super().run(batch)


def opening(model: str, *subjects: Subject) -> tuple[OpenSubjects, Outcome]:
    outcome = Outcome("latency")
    return OpenSubjects(Request(model=model), Workload(model, images=4), subjects, outcome), outcome


def subject(model: str, kind: type[EngineSubject] = EngineSubject, label: str = "", most: int = 8) -> EngineSubject:
    return kind(model, "onnxruntime", options=SessionOptions(max_batch_size=most, threads=1), label=label)


def test_a_subject_that_shows_another_picture_is_never_timed(tiny_model: str) -> None:
    opened, outcome = opening(tiny_model, subject(tiny_model), subject(tiny_model, Mirrored, "mirrored"))
    with opened:
        same = opened.agree(2)
        assert [one.name for one in same] == ["onnxruntime"]
    (skipped,) = outcome.skipped
    assert skipped.subject == "onnxruntime, mirrored"
    assert "shows another picture" in skipped.reason


def test_one_that_cannot_open_is_left_out_with_its_reason(tiny_model: str) -> None:
    opened, outcome = opening(tiny_model, subject(tiny_model, Missing, "missing"), subject(tiny_model))
    with opened:
        assert [one.name for one in opened.agree(1)] == ["onnxruntime"]
    assert [(one.subject, one.reason) for one in outcome.skipped] == [
        ("onnxruntime, missing", "nothing to run it with")
    ]


def test_one_that_takes_no_such_batch_is_left_out(tiny_model: str) -> None:
    opened, outcome = opening(tiny_model, subject(tiny_model), subject(tiny_model, label="single", most=1))
    with opened:
        assert len(opened.agree(1)) == 2
        assert [one.name for one in opened.agree(2)] == ["onnxruntime"]
    assert [one.reason for one in outcome.skipped] == ["takes no batch of 2"]


def test_the_slower_one_takes_longer(tiny_model: str) -> None:
    opened, _ = opening(tiny_model, subject(tiny_model), subject(tiny_model, Sleepy, "sleepy"))
    with opened:
        sampled = opened.sample(opened.agree(1), 1, PLAN, {"constant": lambda _: 7.0})
    assert sampled.samples["constant"] == [7.0] * 3
    # A sleep is never shorter than asked for, but for the clock's resolution.
    assert min(sampled.samples["onnxruntime, sleepy"]) >= 29.9
    assert len(sampled.samples["onnxruntime"]) == 3


def test_device_times_are_those_of_the_counted_rounds(tiny_model: str) -> None:
    opened, _ = opening(tiny_model, subject(tiny_model, Clocked), subject(tiny_model, label="plain"))
    with opened:
        opened.sample(opened.agree(1), 1, PLAN)
    # Run 1 compared, run 2 warmed up.
    assert opened.device_ms == {"onnxruntime": [3.0, 4.0, 5.0]}


def test_everything_is_closed_at_the_end(tiny_model: str) -> None:
    one = subject(tiny_model)
    opened, _ = opening(tiny_model, one)
    with opened:
        assert one.detail
    with pytest.raises(BenchmarkError, match="is not open"):
        _ = one.detail
