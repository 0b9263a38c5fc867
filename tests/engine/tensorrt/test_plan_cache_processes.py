"""The cache between processes, which build a plan once, wait for each other, and may be killed at any time."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from nonesuch.engine.errors import PlanError
from nonesuch.engine.home import Home
from nonesuch.engine.tensorrt.plan_cache import PlanCache
from nonesuch.engine.tensorrt.plan_record import PlanRecord

from .conftest import make_record, make_spec

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by signals here")

CALLS = Path(__file__).parent / "plan_calls.py"
SPEC = msgspec.json.encode(make_spec()).decode()
TIMEOUT_S = 60


def build_here() -> tuple[bytes, PlanRecord]:
    data = os.urandom(1000)
    return data, make_record(data)


def must_not_build() -> tuple[bytes, PlanRecord]:
    raise AssertionError("it was built twice")


@contextmanager
def requesting(home: Home, calls: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that requests the plan from the cache; it is killed at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, CALLS, "get", home.root, SPEC, calls],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=TIMEOUT_S)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_one_of_two_processes_builds_and_both_get_the_plan(home: Home, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    with requesting(home, calls) as first:
        assert [line(first), line(first)] == ["requesting", "building"]
        with requesting(home, calls) as second:
            assert line(second) == "requesting"
            with pytest.raises(subprocess.TimeoutExpired):
                second.wait(timeout=1)  # that it waits cannot be observed from outside
            ends = [first.communicate("go on\n", timeout=TIMEOUT_S)[0], second.communicate(timeout=TIMEOUT_S)[0]]
    assert calls.read_text() == f"{first.pid}\n"
    assert ends[0] == ends[1]
    plan = PlanCache(home).get(make_spec(), must_not_build)
    assert hashlib.sha256(plan.read()).hexdigest() == ends[0].strip()


def test_another_plan_does_not_wait(home: Home, tmp_path: Path) -> None:
    other = make_spec(tf32=False)
    with requesting(home, tmp_path / "calls") as process:
        assert [line(process), line(process)] == ["requesting", "building"]
        data = os.urandom(1000)
        plan = PlanCache(home, lock_timeout_s=0).get(other, lambda: (data, make_record(data, other)))
    assert plan.read() == data


def test_a_process_that_waits_for_too_long_says_so(home: Home, tmp_path: Path) -> None:
    with requesting(home, tmp_path / "calls") as process:
        assert [line(process), line(process)] == ["requesting", "building"]
        start = time.monotonic()
        with pytest.raises(PlanError) as caught:
            PlanCache(home, lock_timeout_s=1).get(make_spec(), must_not_build)
        assert time.monotonic() - start >= 1
        text = "another process is still building synthesis.onnx after 1 s; wait for it, or end it"
        assert caught.value.message == text
        process.communicate("go on\n", timeout=TIMEOUT_S)
    assert PlanCache(home).get(make_spec(), must_not_build).read()


def test_a_wait_can_be_cancelled(home: Home, tmp_path: Path) -> None:
    asked: list[None] = []

    def cancelled() -> bool:
        asked.append(None)
        return len(asked) > 1

    with requesting(home, tmp_path / "calls") as process:
        assert [line(process), line(process)] == ["requesting", "building"]
        with pytest.raises(PlanError, match=r"another process that builds synthesis\.onnx was cancelled"):
            PlanCache(home, cancelled=cancelled).get(make_spec(), must_not_build)
        assert process.poll() is None


def test_an_existing_plan_is_found_while_it_is_built_again(home: Home, tmp_path: Path) -> None:
    # It is replaced when the new plan is complete, so readers need not wait.
    plan = PlanCache(home).get(make_spec(), build_here)
    (lock,) = home.root.rglob("*.lock")
    plan.path.with_suffix(".json").rename(tmp_path / "record")
    with requesting(home, tmp_path / "calls") as process:
        assert [line(process), line(process)] == ["requesting", "building"]
        (tmp_path / "record").rename(plan.path.with_suffix(".json"))
        assert PlanCache(home, lock_timeout_s=0).get(make_spec(), must_not_build).read()
        assert lock.exists()


@pytest.mark.parametrize(
    ("renames", "left"),
    [(0, set()), (1, {".writing"}), (2, {".plan", ".writing"})],
    ids=["while it builds", "before the plan is in place", "before the record is in place"],
)
def test_a_killed_build_leaves_no_plan(home: Home, renames: int, left: set[str]) -> None:
    done = subprocess.run([sys.executable, CALLS, "killed", home.root, SPEC, str(renames)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    (folder,) = home.root.rglob("plans")
    rest = [path for path in folder.iterdir() if path.suffix != ".lock"]
    assert {path.name.partition("-")[0] if path.name[0] == "." else path.suffix for path in rest} == left
    cache = PlanCache(home, lock_timeout_s=0)  # the lock of a dead process is free immediately
    assert cache.find(make_spec()) is None
    assert list(cache.folder(make_spec().model_id).plans()) == []
    plan = cache.get(make_spec(), build_here)
    assert len(plan.read()) == 1000
    key = make_spec().key
    assert {path.name for path in folder.iterdir()} - {f"{key}.lock"} == {f"{key}.plan", f"{key}.json"}


def test_a_waiting_process_builds_after_the_builder_is_killed(home: Home, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    with requesting(home, calls) as first, requesting(home, calls) as second:
        assert line(first) == line(second) == "requesting"
        while not calls.exists() or not calls.read_text().endswith("\n"):
            time.sleep(0.01)
        builder, waiter = (first, second) if calls.read_text() == f"{first.pid}\n" else (second, first)
        builder.kill()
        assert line(waiter) == "building"
        out = waiter.communicate("go on\n", timeout=TIMEOUT_S)[0]
    assert calls.read_text().split() == [str(builder.pid), str(waiter.pid)]
    plan = PlanCache(home).get(make_spec(), must_not_build)
    assert hashlib.sha256(plan.read()).hexdigest() == out.strip()
