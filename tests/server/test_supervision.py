"""Devices that hang and processes that die, with the real command in separate processes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import textwrap
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nonesuch.client import AsyncClient, UnavailableError
from nonesuch.engine.artifact import Artifact
from nonesuch.server.supervisor import Supervisor

# A test backend: ONNX Runtime whose runs hang while a file exists.
HANGING = """
import sys, time
from pathlib import Path
from nonesuch.engine.backends.onnxruntime import OnnxRuntimeSession

run, switch = OnnxRuntimeSession._run, Path(sys.argv[1])
def hang(self, batch):
    while switch.exists():
        time.sleep(0.02)
    return run(self, batch)
OnnxRuntimeSession._run = hang
from nonesuch.cli.main import main
sys.argv = ["nonesuch", *sys.argv[2:]]
main()
"""


async def address_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while line := (await process.stdout.readline()).decode():
            if found := re.match(r"gRPC\s+(\S+)", line):
                return found[1]
    raise AssertionError("the server ended before it served")


async def test_a_hanging_device_fails_all_calls_and_ends_the_process(artifact: Artifact, tmp_path: Path) -> None:
    switch = tmp_path / "hang"
    arguments = ["serve", "--grpc", "127.0.0.1:0", "--model", str(artifact.folder), "--backend", "onnxruntime"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANGING, str(switch), *arguments, "--run-timeout-s", "0.5", "--log-level", "error",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        address = await address_of(process)
        async with grpc.aio.insecure_channel(address) as channel, AsyncClient(address, retries=False) as client:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            assert (await client.generate(seed=1)).data
            switch.touch()
            results = await asyncio.gather(*(client.generate(seed=seed) for seed in range(6)), return_exceptions=True)
            assert all(isinstance(result, UnavailableError) for result in results), results
            assert any("hangs" in str(result) for result in results)
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        async with asyncio.timeout(30):
            _, error = await process.communicate()
        assert process.returncode == 1
        assert error.decode().splitlines()[-1].startswith("nonesuch: onnxruntime ")
        assert "let --supervise do it" in error.decode()
    finally:
        if process.returncode is None:
            process.kill()


def counting(folder: Path, codes: list[int]) -> list[str]:
    """A command that ends with the next of some codes each time it is started, and then waits for a signal."""
    program = f"""
        import signal, sys, time
        from pathlib import Path
        folder = Path({str(folder)!r})
        number = len(list(folder.glob("start-*")))
        (folder / f"start-{{number}}").touch()
        codes = {codes}
        if number < len(codes):
            sys.exit(codes[number])
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        (folder / "waiting").touch()
        while True:
            time.sleep(0.05)
    """
    return [sys.executable, "-c", textwrap.dedent(program)]


def starts(folder: Path) -> int:
    return len(list(folder.glob("start-*")))


def test_a_failed_server_is_restarted_and_a_finished_one_is_not(tmp_path: Path) -> None:
    assert Supervisor(counting(tmp_path, [1, 3, 0]), first_pause_s=0.01).run() == 0
    assert starts(tmp_path) == 3
    other = tmp_path / "other"
    other.mkdir()
    assert Supervisor(counting(other, [2]), first_pause_s=0.01).run() == 2  # wrong usage stays wrong
    assert starts(other) == 1


async def test_a_signal_is_forwarded_to_the_server_and_ends_both(tmp_path: Path) -> None:
    command = f"Supervisor({counting(tmp_path, [1])!r}, first_pause_s=0.01)"
    run = f"from nonesuch.server.supervisor import Supervisor; raise SystemExit({command}.run())"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", run, stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(30):
        while not (tmp_path / "waiting").exists():
            await asyncio.sleep(0.01)
        process.terminate()
        await process.communicate()
    assert process.returncode == 0
    assert starts(tmp_path) == 2


async def test_a_signal_to_the_whole_group_reaches_the_server_once(tmp_path: Path) -> None:
    """As with Ctrl-C in a terminal: a second signal would end the drain."""
    program = (
        "import signal, sys, time; from pathlib import Path; got = []\n"
        "signal.signal(signal.SIGINT, lambda *_: got.append(1))\n"
        f"Path({str(tmp_path / 'waiting')!r}).touch()\n"
        "end = time.monotonic() + 20\n"
        "while not got and time.monotonic() < end: time.sleep(0.01)\n"
        "time.sleep(0.3); sys.exit(0 if len(got) == 1 else 3)\n"
    )
    command = [sys.executable, "-c", program]
    run = f"from nonesuch.server.supervisor import Supervisor; raise SystemExit(Supervisor({command!r}).run())"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", run, start_new_session=True)
    async with asyncio.timeout(30):
        while not (tmp_path / "waiting").exists():
            await asyncio.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        assert await process.wait() == 0


@pytest.mark.parametrize("killed", [signal.SIGKILL])
async def test_a_killed_server_restarts_on_its_address(artifact: Artifact, killed: signal.Signals) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = str(Path(sys.executable).parent / "nonesuch")
    arguments = ["serve", "--grpc", f"127.0.0.1:{port}", "--model", str(artifact.folder), "--log-level", "error"]
    process = await asyncio.create_subprocess_exec(
        program, *arguments, "--supervise", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        address = await address_of(process)
        async with AsyncClient(address) as client:
            assert (await client.generate(seed=1)).data
            (child,) = psutil.Process(process.pid).children()
            child.send_signal(killed)
            assert await address_of(process) == address  # the restarted server prints its address
            assert (await client.generate(seed=1, wait_for_ready=True)).data
        process.terminate()
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
