from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from nonesuch.benchmarks.result import BenchmarkError
from nonesuch.benchmarks.serve import child_process
from nonesuch.benchmarks.serve.child_process import ChildProcess

# Ends at SIGTERM and leaves a child behind, as some servers do.
CARELESS = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("child", "w").write(str(child.pid))
time.sleep(600)
"""


def odd(folder: Path, code: str) -> ChildProcess:
    return ChildProcess("odd", [sys.executable, "-c", code], {"ODD": "1"}, folder)


def child_of(folder: Path) -> psutil.Process:
    file = folder / "child"
    while not (file.is_file() and file.read_text()):
        time.sleep(0.01)
    return psutil.Process(int(file.read_text()))


def test_a_server_ends_with_all_its_processes_and_is_weighed_with_them(tmp_path: Path) -> None:
    with odd(tmp_path, CARELESS) as server:
        child = child_of(tmp_path)
        assert server.cpu_s() > 0
        own = psutil.Process(child.ppid()).memory_info().rss / 2**20
        # A bare interpreter has some 8 MiB.
        assert server.rss_mib() > own + 2
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    server.stop()  # a second time does nothing


def test_a_server_that_ignores_the_request_to_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "STOP_TIMEOUT_S", 0.2)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('child', 'w').write('x')"
    server = odd(tmp_path, f"{code}; time.sleep(600)")
    server.start()
    process = psutil.Process(server.pid)
    while not (tmp_path / "child").is_file():
        time.sleep(0.01)
    assert server.stop() is None
    assert not process.is_running()


def test_a_server_that_does_not_start_says_its_last_line(tmp_path: Path) -> None:
    def no_answer() -> None:
        raise BenchmarkError("nobody is there")

    code = "import os, sys; print('loading'); sys.exit('no such ' + os.environ['ODD'])"
    with (
        odd(tmp_path, code) as server,
        pytest.raises(BenchmarkError, match="odd does not start; it ended with exit code 1: no such 1"),
    ):
        server.wait_ready(no_answer)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="odd does not start"):
        ChildProcess("odd", [str(tmp_path / "nothing")]).start()


def test_waiting_goes_on_until_there_is_an_answer(tmp_path: Path) -> None:
    answers = iter([False, False, True])

    def answer() -> None:
        if not next(answers):
            raise BenchmarkError("not yet")

    with odd(tmp_path, "import time; time.sleep(600)") as server:
        server.wait_ready(answer)
    assert next(answers, None) is None
