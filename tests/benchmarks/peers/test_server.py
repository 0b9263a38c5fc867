from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from nonesuch.benchmarks.measurement import BenchmarkError
from nonesuch.benchmarks.peers.server import Server

# Ends at SIGTERM and leaves a child behind, as some servers do.
CARELESS = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("child", "w").write(str(child.pid))
time.sleep(600)
"""


def start(folder: Path, code: str) -> Server:
    return Server("odd", [sys.executable, "-c", code], {"ODD": "1"}, folder=folder, log=folder / "log")


def child_of(folder: Path) -> psutil.Process:
    file = folder / "child"
    while not (file.is_file() and file.read_text()):
        time.sleep(0.01)
    return psutil.Process(int(file.read_text()))


def test_a_server_ends_with_all_its_processes_and_is_weighed_with_them(tmp_path: Path) -> None:
    with start(tmp_path, CARELESS) as server:
        child = child_of(tmp_path)
        assert server.cpu_s() > 0
        own = psutil.Process(child.ppid()).memory_info().rss / 2**20
        # A bare interpreter has some 8 MiB.
        assert server.rss_mib() > own + 2
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    server.stop()  # a second time does nothing


def test_a_server_that_ignores_the_request_to_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nonesuch.benchmarks.peers.server.STOP_TIMEOUT_S", 0.2)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('child', 'w').write('x')"
    server = start(tmp_path, f"{code}; time.sleep(600)")
    while not (tmp_path / "child").is_file():
        time.sleep(0.01)
    server.stop()
    assert server._process.returncode == -signal.SIGKILL


def test_a_server_that_does_not_start_says_its_last_line(tmp_path: Path) -> None:
    def no_answer() -> None:
        raise BenchmarkError("nobody is there")

    code = "import os, sys; print('loading'); sys.exit('no such ' + os.environ['ODD'])"
    with start(tmp_path, code) as server, pytest.raises(BenchmarkError, match="odd does not start: no such 1"):
        server.wait_ready(no_answer)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="odd does not start"):
        Server("odd", [str(tmp_path / "nothing")], {}, folder=tmp_path, log=tmp_path / "log")


def test_waiting_goes_on_until_there_is_an_answer(tmp_path: Path) -> None:
    answers = iter([False, False, True])

    def answer() -> None:
        if not next(answers):
            raise BenchmarkError("not yet")

    with start(tmp_path, "import time; time.sleep(600)") as server:
        server.wait_ready(answer)
    assert next(answers, None) is None
