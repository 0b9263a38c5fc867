from __future__ import annotations

from pathlib import Path

import pytest

from nonesuch.benchmarks import run_all
from nonesuch.benchmarks.result import BenchmarkError, Request, Result
from nonesuch.benchmarks.run_all import ALL, EVERYTHING, SUITES, Suite, run_suites

QUICK_REQUEST = {"quick": True, "subjects": ("onnxruntime",), "rounds": 1}


def test_every_suite_can_be_imported_and_measures() -> None:
    assert set(ALL) == set(SUITES) - {"overload", "overhead", "peers"}
    for suite in SUITES.values():
        assert callable(suite.function)


def test_a_broken_suite_is_left_out_and_the_others_go_on(
    tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(run_all.SUITES, "memory", Suite("no_such_module", ""))
    said: list[str] = []
    request = Request(tiny_model, say=said.append, **QUICK_REQUEST)  # type: ignore[arg-type]
    names = ["latency", "memory", "throughput"]
    result = run_suites(names, request, out=tmp_path, command="nonesuch bench")
    assert {one.suite for one in result.measurements} == {"latency", "throughput"}
    (skipped,) = (one for one in result.skipped if one.suite == "memory")
    assert skipped.subject == EVERYTHING
    assert skipped.reason == "No module named 'nonesuch.benchmarks.no_such_module'"
    assert not any("ended early" in flag for flag in result.flags)
    assert Result.load(tmp_path) == result
    assert (result.model, result.resolution, result.quick) == ("tiny", 32, True)
    assert result.environment["cpu"]
    assert [line for line in said if line.endswith(" of 3)")] == [
        "latency (1 of 3)", "memory (2 of 3)", "throughput (3 of 3)",
    ]  # fmt: skip


def test_what_was_measured_before_an_interruption_is_on_disk(tiny_model: str, tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        if line.startswith("throughput"):
            raise KeyboardInterrupt

    request = Request(tiny_model, say=interrupt, **QUICK_REQUEST)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        run_suites(["latency", "throughput", "memory"], request, out=tmp_path, command="nonesuch bench")
    result = Result.load(tmp_path)
    assert {one.suite for one in result.measurements} == {"latency"}
    assert result.flags[0] == "the run ended early, without throughput, memory"


def test_when_nothing_could_be_measured_that_is_an_error(tiny_model: str, tmp_path: Path) -> None:
    request = Request(tiny_model, subjects=("wheel",), quick=True)
    with pytest.raises(
        BenchmarkError, match=r"^nothing could be measured: tiny did not come from the wheel of 'faces'"
    ):
        run_suites(["throughput"], request, out=tmp_path, command="nonesuch bench")
    with pytest.raises(BenchmarkError, match=r"^nothing could be measured: no subject was asked for"):
        run_suites(["throughput"], Request(tiny_model, subjects=("nobody",)), out=tmp_path, command="nonesuch bench")
