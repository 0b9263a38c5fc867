from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from nonesuch.benchmarks.result import Measurement, Result
from nonesuch.benchmarks.run_all import ALL, SUITES
from nonesuch.engine.artifact import Artifact
from nonesuch.engine.home import Home
from nonesuch.export.checkpoint import Checkpoint

Call = Callable[..., subprocess.CompletedProcess[str]]
LineOf = Callable[..., str]


@pytest.fixture
def model(artifact: Artifact, checkpoint: Checkpoint) -> Path:
    """The tiny model, with the weights that PyTorch needs."""
    checkpoint.save(Checkpoint.folder(Home.default(), checkpoint.model_id))
    return artifact.folder


def test_latency_is_measured_and_reported_by_the_installed_command(run: Call, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--model", model, "--quick", "--rounds", 3, "--subjects", "onnxruntime", "--subjects", "torch eager")
    done = run("bench", "latency", *arguments, "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(out / name) for name in ("result.json", "report.md", "report.html")]
    result = Result.load(out)
    assert shlex.split(result.command) == [
        *("nonesuch", "bench", "latency", "--model", str(model), "--quick"),
        *("--subjects", "onnxruntime", "--subjects", "torch eager", "--rounds", "3"),
    ]
    measured = {one.subject: len(one.samples) for one in result.measurements if one.metric == "latency"}
    assert measured["onnxruntime"] == 3
    assert sum(name.startswith("torch eager") for name in measured) == 4
    assert all(name in (out / "report.md").read_text() for name in measured)
    assert (out / "plots" / "latency.svg").exists()
    # Plain lines, where nobody watches.
    assert "latency (1 of 1)" in done.stderr.splitlines()
    assert "\r" not in done.stderr


@pytest.mark.slow  # half a minute: real servers, a process for each footprint
def test_all_runs_every_suite_but_the_long_ones(call: Call, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    subjects = [part for text in ("onnxruntime", "jpeg", "nonesuch") for part in ("--subjects", text)]
    done = call("bench", "all", "--quick", "--rounds", 1, "--model", model, "--out", out, *subjects)
    assert done.returncode == 0, done.stderr
    result = Result.load(out)
    assert list(dict.fromkeys(one.suite for one in result.measurements)) == list(ALL), done.stderr
    report = (out / "report.md").read_text()
    assert all(f"\n## {suite.capitalize()}\n" in report for suite in ALL)


def test_a_model_that_is_not_here_is_prepared_as_for_generate(
    call: Call, line_of: LineOf, offline: None, tmp_path: Path
) -> None:
    line = line_of(call("bench", "latency", "--model", "nobody", "--out", tmp_path))
    assert "no model 'nobody'" in line
    done = call("bench", "latency", "--out", tmp_path)
    assert "Getting and exporting faces" in done.stderr
    assert done.returncode == 1
    assert not list(tmp_path.glob("*.json"))


def test_when_nothing_is_measured_the_exit_code_is_1(call: Call, artifact: Artifact, tmp_path: Path) -> None:
    done = call("bench", "latency", "--model", artifact.folder, "--out", tmp_path, "--subjects", "nobody")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("nonesuch: nothing could be measured: ")


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Path]:
    """Results A and B; in B one subject is slower by half and one is not there."""

    def one(subject: str, factor: float) -> Measurement:
        samples = [factor * value for value in (99.0, 100.0, 101.0, 100.0, 99.0, 101.0)]
        return Measurement(
            suite="latency", subject=subject, metric="latency", unit="ms", better="lower", samples=samples,
            case={"batch": 1},
        )  # fmt: skip

    a = Result(
        created="2026-01-02T03:04:05+00:00", command="nonesuch bench latency", model="tiny", model_id="0",
        resolution=32, quick=True, environment={"cpu": "one"}, measurements=[one("onnxruntime", 1), one("openvino", 1)],
    )  # fmt: skip
    b = replace(a, environment={"cpu": "two"}, measurements=[one("onnxruntime", 1.5)])
    return a.save(tmp_path / "a"), b.save(tmp_path / "b")


def test_compare_says_what_got_slower(call: Call, saved: tuple[Path, Path]) -> None:
    before, after = saved
    done = call("bench", "compare", before, after)
    assert done.returncode == 0
    assert done.stderr == "warning: cpu differs: one in A, two in B\n"
    *table, missing, verdict = done.stdout.splitlines()
    assert table[1].split()[-1] == "slower"
    assert missing == "only in A: latency, latency, batch=1, openvino"
    assert verdict.startswith("Regression: 1 worse, 0 better")
    assert call("bench", "compare", before, after, "--fail-on-regression").returncode == 1
    assert call("bench", "compare", before, after, "--fail-on-regression", "--least-effect", 60).returncode == 0
    assert call("bench", "compare", before, before.parent, "--fail-on-regression").returncode == 0


def test_report_and_table_are_written_from_a_result(call: Call, saved: tuple[Path, Path], tmp_path: Path) -> None:
    before, _ = saved
    done = call("bench", "report", before, "--out", tmp_path / "report")
    assert done.stdout.splitlines() == [str(tmp_path / "report" / name) for name in ("report.md", "report.html")]
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:latency -->\n<!-- /bench -->\n<!-- bench:peers -->\n<!-- /bench -->\n")
    done = call("bench", "table", before, "--into", page)
    assert done.stdout == f"{page}: latency\n"
    assert done.stderr == "left as they were, not in the result: peers\n"
    assert "| onnxruntime | 100 ms |" in page.read_text()


def test_files_that_are_no_results_are_named(
    call: Call, line_of: LineOf, saved: tuple[Path, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}")
    assert "other.json is not a result of nonesuch bench" in line_of(call("bench", "compare", saved[0], other))
    assert "cannot read" in line_of(call("bench", "report", tmp_path / "none.json", "--out", tmp_path))
    page = tmp_path / "page.md"
    page.write_text("# no marker\n")
    assert "has no marker" in line_of(call("bench", "table", saved[0], "--into", page))


@pytest.mark.parametrize("name", [*SUITES, "all", "compare", "report", "table"])
def test_every_benchmark_has_help(call: Call, name: str) -> None:
    shown = call("bench", name, "--help")
    assert shown.returncode == 0
    assert shown.stdout.startswith(f"Usage: nonesuch bench {name} ")
