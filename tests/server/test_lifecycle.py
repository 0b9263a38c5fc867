"""Start, health, reflection and stop, with third-party clients: grpcio and buf."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nonesuch.client import AsyncClient, UnavailableError
from nonesuch.engine.artifact import Artifact
from nonesuch.engine.errors import UnavailableError as EngineUnavailableError

from ..conftest import RunServer

BIN = Path(sys.executable).parent
SERVICES = ["nonesuch.v1.GenerationService", "nonesuch.v1.ModelService"]


@contextmanager
def serving(artifact: Artifact, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`nonesuch serve` as a separate process, and its address."""
    command = [str(BIN / "nonesuch"), "serve", "--grpc", "127.0.0.1:0", "--model", str(artifact.folder), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline(), process.stdout.readline()]
            assert lines[1].startswith("gRPC"), (lines, process.stderr.read() if process.stderr else "")
            yield process, lines[1].split()[1]
        finally:
            process.kill()


async def test_sigterm_under_load_answers_every_accepted_call_and_exits_with_0(artifact: Artifact) -> None:
    with serving(artifact) as (process, address):
        async with AsyncClient(address, retries=False) as client:
            streams = [client.stream(range(start, start + 100), format="png") for start in range(0, 400, 100)]
            # The first image of each stream shows that the stream was accepted.
            firsts = [await anext(stream) for stream in streams]
            calls = [asyncio.create_task(client.generate(seed=seed)) for seed in range(40)]
            await asyncio.sleep(0)  # the calls are on their way: some are accepted, some may come too late
            process.send_signal(signal.SIGTERM)

            async def rest(stream: object) -> int:
                return len([image async for image in stream])  # type: ignore[attr-defined]

            counts = await asyncio.gather(*(rest(stream) for stream in streams))
            assert [count + 1 for count in counts] == [100] * 4
            assert len(firsts) == 4
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            answered = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
            assert all(isinstance(o, UnavailableError) for o in outcomes if isinstance(o, BaseException)), outcomes
            assert await asyncio.to_thread(process.wait, 30) == 0
            with pytest.raises(UnavailableError):
                await client.generate(seed=1)
        assert process.stderr is not None
        log = [json.loads(line) for line in process.stderr.read().splitlines() if line.startswith("{")]
        assert [line["event"] for line in log if line["event"] != "call"] == [
            "loaded",
            "serving",
            "draining",
            "unloaded",
            "stopped",
        ]
        accepted = [line["code"] for line in log if line.get("method", "").endswith("/Generate")]
        assert accepted == ["OK"] * len(answered)


async def test_a_second_server_on_the_port_fails_with_a_clear_line(run_server: RunServer) -> None:
    async with run_server() as server:
        with pytest.raises(EngineUnavailableError, match=f"cannot listen on {server.address}: it is in use"):
            async with run_server(grpc=server.address):
                pass


async def test_health_answers_per_service_and_watch_sees_the_drain(run_server: RunServer) -> None:
    async with run_server() as server, grpc.aio.insecure_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ["", *SERVICES]:
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="nonesuch.v1.Nonesuch"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICES[0]))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        stopping = asyncio.create_task(server.stop())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await watch.read() is grpc.aio.EOF  # the stop does not wait for watchers
        await stopping


async def test_buf_lists_the_services_by_reflection_and_makes_a_call(run_server: RunServer) -> None:
    async with run_server() as server:

        async def buf(*arguments: str) -> str:
            process = await asyncio.create_subprocess_exec(
                str(BIN / "buf"),
                "curl",
                "--protocol",
                "grpc",
                "--http2-prior-knowledge",
                *arguments,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, error = await process.communicate()
            return out.decode() + error.decode()

        methods = (await buf("--list-methods", f"http://{server.address}")).split()
        assert {
            "nonesuch.v1.GenerationService/Generate",
            "nonesuch.v1.GenerationService/GenerateStream",
            "nonesuch.v1.GenerationService/Walk",
            "nonesuch.v1.ModelService/GetModel",
            "nonesuch.v1.ModelService/ListModels",
            "inference.GRPCInferenceService/ModelInfer",
            "grpc.health.v1.Health/Check",
        } <= set(methods)
        url = f"http://{server.address}/nonesuch.v1.GenerationService"
        answer = json.loads(await buf("-d", '{"source": {"seed": 3}}', f"{url}/Generate"))
        assert answer["image"]["width"] == 32
        assert answer["generation"]["seed"] == 3
        walk = json.loads(await buf("-d", "{}", f"{url}/Walk"))
        assert walk["code"] == "invalid_argument"
        assert "a walk goes through at least 2" in walk["message"]


async def test_an_internal_failure_shows_only_an_id(run_server: RunServer, capsys: pytest.CaptureFixture[str]) -> None:
    from nonesuch.client import ServerError

    async with run_server() as server, AsyncClient(server.address) as client:
        session = server.registry.loaded[0].generator.session

        def broken(batch: object) -> NoReturn:
            raise RuntimeError("a secret path")

        session._run = broken  # type: ignore[method-assign]
        with pytest.raises(ServerError) as caught:
            await client.generate(seed=1)
        assert "a secret path" not in str(caught.value)
        assert "Traceback" not in str(caught.value)
        error_id = caught.value.details.rsplit(" ", 1)[1]
        assert len(error_id) == 16
        log = capsys.readouterr()
        assert error_id in log.out + log.err
        assert "a secret path" in log.out + log.err
        del session._run
        assert (await client.generate(seed=1)).data
