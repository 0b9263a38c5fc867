from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from nonesuch.benchmarks.environment import (
    Snapshot,
    busy_flags,
    record,
    sgemm_gflops,
    snapshot,
)
from nonesuch.engine import __version__
from nonesuch.engine.machine import usable_cores

QUIET = Snapshot(wall_s=100.0, busy_s=50.0, own_s=40.0, steal_s=1.0, cores=2, load=0.1)
BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


def later(**changes: float) -> Snapshot:
    """Ten seconds on, in which this process used a core and nothing else ran."""
    values = {"wall_s": 110.0, "busy_s": 60.0, "own_s": 50.0, **changes}
    return replace(QUIET, **values)  # type: ignore[arg-type]


def serious(flags: list[str]) -> list[str]:
    """Without notes, which depend on the machine that runs the tests."""
    return [flag for flag in flags if not flag.startswith("note:")]


def test_a_quiet_machine_has_no_flags() -> None:
    assert serious(busy_flags(QUIET, later())) == []


@pytest.mark.parametrize(
    ("before", "after", "flag"),
    [
        # 3 of 20 core seconds.
        (QUIET, later(busy_s=63.0), "other processes used 15% of the cores"),
        (replace(QUIET, load=0.8), later(), "the load average was 0.80"),
        # 1 of 20 core seconds.
        (QUIET, later(steal_s=2.0), "the hypervisor took 5.0%"),
    ],
)
def test_what_disturbs_a_run_is_named(before: Snapshot, after: Snapshot, flag: str) -> None:
    found = serious(busy_flags(before, after))
    assert len(found) == 1
    assert found[0].startswith(flag)


def test_the_load_after_a_run_is_our_own() -> None:
    assert serious(busy_flags(QUIET, later(load=2.0))) == []


def test_the_work_of_our_children_is_our_own() -> None:
    before = snapshot()
    subprocess.run([sys.executable, "-c", BURN], check=True)
    after = snapshot()
    # The child used 0.3 s in its loop; the clock of processes ticks in hundredths.
    assert after.own_s - before.own_s >= 0.28
    assert after.busy_s > before.busy_s
    assert after.wall_s > before.wall_s


def test_a_record_names_the_machine_and_the_software(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = record()
    assert {"cpu", "cores", "cache", "memory_gib", "os", "governor", "load_average", "python", "gpus"} <= found.keys()
    assert found["nonesuch"] == __version__
    assert found["OMP_NUM_THREADS"] == "3"
    assert found["cores"].startswith(f"{usable_cores()} ")
    assert all(value and "\n" not in value for value in found.values())


def test_a_larger_product_is_not_counted_as_faster_than_arithmetic_allows() -> None:
    # 1e6 GFLOP/s is beyond any processor: a wrong factor of the operation count would be in the thousands.
    assert 0 < sgemm_gflops(sizes=(128,), repeats=2) < 1e6
