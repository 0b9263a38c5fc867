from __future__ import annotations

import subprocess
import sys
import time

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from nonesuch.benchmarks.result import BenchmarkError
from nonesuch.benchmarks.serve.server import ServerProcess
from nonesuch.client import Client, UnavailableError
from nonesuch.engine.artifact import Artifact


def gone(pid: int) -> bool:
    """Whether no such process runs; one that nobody has reaped yet does not run."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_it_serves_and_stops_in_order(artifact: Artifact) -> None:
    server = ServerProcess(artifact.folder, ["--batch", "2"])
    assert server.stop() is None
    with server:
        pid, address = server.pid, server.address
        server.start()  # again: nothing happens
        assert server.pid == pid
        with Client(address) as client:
            assert client.model().limits.max_batch_size == 2
            assert client.generate(seed=1).width == 32
        assert server.stop() == 0  # a server that drained, not one that was shot
        assert server.pid == 0
    assert gone(pid)
    with Client(address, retries=False) as client, pytest.raises(UnavailableError):
        client.health(deadline_s=5)


def test_it_stops_where_the_block_fails(artifact: Artifact) -> None:
    pids: list[int] = []

    def fail() -> None:
        with ServerProcess(artifact.folder) as server:
            pids.append(server.pid)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert gone(pids[0])


def test_a_server_that_does_not_start_says_why() -> None:
    server = ServerProcess("no-such-model")
    with pytest.raises(BenchmarkError, match=r"does not start; it ended with exit code 1: nonesuch: .*no-such-model"):
        server.start()
    assert server.pid == 0


def test_a_server_that_takes_too_long_is_ended(artifact: Artifact) -> None:
    server = ServerProcess(artifact.folder, start_timeout_s=0.0)
    with pytest.raises(BenchmarkError, match="was not ready in 0 s"):
        server.start()
    assert server.pid == 0


def test_it_ends_with_the_process_that_started_it(artifact: Artifact) -> None:
    program = (
        "import os, signal, sys\n"
        "from nonesuch.benchmarks.serve.server import ServerProcess\n"
        "server = ServerProcess(sys.argv[1])\n"
        "server.start()\n"
        "print(server.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    arguments = [sys.executable, "-c", program, str(artifact.folder)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -9, done.stderr
    pid, until = int(done.stdout), time.monotonic() + 60
    while not gone(pid):
        assert time.monotonic() < until, "the server outlived its parent"
        time.sleep(0.05)
