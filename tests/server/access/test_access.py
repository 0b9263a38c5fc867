"""Keys, scopes and limits, with grpcio's client."""

from __future__ import annotations

import asyncio
import time
from typing import Any, NoReturn

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from nonesuch.client import (
    AccessError,
    AsyncClient,
    ModelNotFoundError,
    OverloadedError,
    RequestError,
    ServerError,
    UnavailableError,
)
from nonesuch.engine.errors import InvalidRequestError
from nonesuch.server.access.api_keys import hash_of_key, new_key
from nonesuch.server.observing.logs import configure_logs
from nonesuch.server.settings import KeySettings
from nonesuch.v1 import admin_service_pb2, admin_service_pb2_grpc

from ...conftest import RunServer
from ...waiting import until

KEYS = {name: new_key() for name in ("alice", "worker", "operator")}


def key(name: str, *scopes: str, **limits: float) -> KeySettings:
    return KeySettings(name=name, sha256=hash_of_key(KEYS[name]), scopes=scopes, **limits)


ALICE = key("alice", "generate")
WORKER = key("worker", "generate", "bulk")
OPERATOR = key("operator", "admin")


async def test_a_call_needs_a_known_key_and_a_key_can_be_revoked(run_server: RunServer) -> None:
    async with run_server(keys=(ALICE, WORKER)) as server:
        async with AsyncClient(server.address) as nobody, AsyncClient(server.address, api_key=new_key()) as stranger:
            for client, text in ((nobody, "wants an API key"), (stranger, "not known to this server")):
                with pytest.raises(AccessError, match=text) as caught:
                    await client.generate(seed=1)
                assert caught.value.code is grpc.StatusCode.UNAUTHENTICATED
                with pytest.raises(AccessError):
                    await client.models()
                assert await client.health() == "SERVING"  # probes have no key
        async with AsyncClient(server.address, api_key=KEYS["alice"]) as alice:
            assert (await alice.generate(seed=1)).data
            server.replace_keys((WORKER,))
            with pytest.raises(AccessError, match="may have been revoked"):
                await alice.generate(seed=1)
            with pytest.raises(InvalidRequestError, match="cannot be turned on or off while the server runs"):
                server.replace_keys(())


async def test_a_scheme_other_than_bearer_is_refused(run_server: RunServer) -> None:
    async with run_server(keys=(ALICE,)) as server, grpc.aio.insecure_channel(server.address) as channel:
        call: Any = channel.unary_unary("/nonesuch.v1.ModelService/ListModels")
        for value in ("Basic YWxpY2U6c2VjcmV0", KEYS["alice"], "Bearer", "Bearer "):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"", metadata=(("authorization", value),))
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert KEYS["alice"] not in str(caught.value.details())
        assert await call(b"", metadata=(("authorization", f"bearer {KEYS['alice']}"),)) != b""


async def test_a_key_allows_only_its_scopes(run_server: RunServer) -> None:
    settings = {"keys": (ALICE, WORKER, OPERATOR), "admin": "127.0.0.1:0"}
    async with run_server(**settings) as server:
        async with AsyncClient(server.address, api_key=KEYS["alice"]) as alice:
            for refused in (
                alice.generate(seed=1, priority="bulk"),
                alice.stream([1, 2]).__anext__(),
                alice.walk([1, 2], frames_per_step=2).__anext__(),
            ):
                with pytest.raises(AccessError, match="needs the scope 'bulk'; the key 'alice' has generate") as caught:
                    await refused
                assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED
            assert [image.index async for image in alice.stream([1])] == [0]
        async with AsyncClient(server.address, api_key=KEYS["worker"]) as worker:
            assert len([image async for image in worker.stream(range(3))]) == 3
        async with AsyncClient(server.address, api_key=KEYS["operator"]) as operator:
            with pytest.raises(AccessError, match="needs the scope 'generate'"):
                await operator.generate(seed=1)
        async with grpc.aio.insecure_channel(server.addresses["admin"]) as channel:
            admin = admin_service_pb2_grpc.AdminServiceStub(channel)  # type: ignore[no-untyped-call]
            listing = admin_service_pb2.ListModelStatesRequest()
            with pytest.raises(grpc.aio.AioRpcError) as denied:
                await admin.ListModelStates(listing, metadata=(("authorization", f"Bearer {KEYS['worker']}"),))
            assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
            answer = await admin.ListModelStates(listing, metadata=(("authorization", f"Bearer {KEYS['operator']}"),))
            assert [model.name for model in answer.models] == ["tiny"]


async def test_the_admin_service_is_not_on_the_public_address(run_server: RunServer) -> None:
    async with run_server(admin="127.0.0.1:0") as server, grpc.aio.insecure_channel(server.address) as channel:
        admin = admin_service_pb2_grpc.AdminServiceStub(channel)  # type: ignore[no-untyped-call]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await admin.Drain(admin_service_pb2.DrainRequest())
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_reflection_needs_a_key_and_can_be_disabled(run_server: RunServer) -> None:
    listing = reflection_pb2.ServerReflectionRequest(list_services="")

    async def services(address: str, metadata: tuple[tuple[str, str], ...] = ()) -> list[str]:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            async for answer in stub.ServerReflectionInfo(iter([listing]), metadata=metadata):
                return [service.name for service in answer.list_services_response.service]
        return []

    async with run_server(keys=(ALICE,)) as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await services(server.address)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        names = await services(server.address, (("authorization", f"Bearer {KEYS['alice']}"),))
        assert {"nonesuch.v1.GenerationService", "inference.GRPCInferenceService"} <= set(names)
    async with run_server(reflection=False) as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await services(server.address)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_rate_limit_applies_per_client_and_grpcs_retry_waits_for_the_pushback(run_server: RunServer) -> None:
    limited = key("alice", "generate", images_per_s=5, burst_images=2)
    async with run_server(keys=(limited, WORKER)) as server:
        async with AsyncClient(server.address, api_key=KEYS["alice"], retries=False) as alice:
            for seed in range(2):
                await alice.generate(seed=seed)
            with pytest.raises(OverloadedError, match="'alice' may ask for 5 images a second, 2 at once") as caught:
                await alice.generate(seed=2)
            retry_after_s = caught.value.retry_after_s
            assert retry_after_s is not None
            assert 0 < retry_after_s <= 0.2
        async with AsyncClient(server.address, api_key=KEYS["worker"], retries=False) as worker:
            assert (await worker.generate(seed=3)).data  # others are not limited by alice's calls
        async with AsyncClient(server.address, api_key=KEYS["alice"]) as patient:
            began = time.monotonic()
            images = [await patient.generate(seed=seed) for seed in range(4)]
            # Three or four tokens come at 5 a second. Without the pushback the first attempts would be after 0.2 s at
            # random, and would be refused; that all four came says that the retries waited as long as they were told.
            assert len(images) == 4
            assert time.monotonic() - began >= 0.4


async def test_a_full_bucket_admits_a_larger_stream_and_goes_into_debt(
    run_server: RunServer,
) -> None:
    async with run_server(images_per_s=50.0, burst_images=4) as server:
        async with AsyncClient(server.address, retries=False) as client:
            assert len([image async for image in client.stream(range(8))]) == 8
            with pytest.raises(OverloadedError, match="50 images a second"):
                await client.generate(seed=1)
            await asyncio.sleep(0.3)
            assert (await client.generate(seed=1)).data


async def test_calls_beyond_the_limit_are_refused_with_a_retry_time(run_server: RunServer) -> None:
    async with run_server(max_calls=2, queue_limit=100) as server:
        async with AsyncClient(server.address, retries=False) as client:
            streams = [client.stream(range(500)) for _ in range(2)]
            for stream in streams:
                await anext(stream)
            with pytest.raises(OverloadedError, match="2 calls run, and no more may"):
                await client.generate(seed=1)
            assert await client.health() == "SERVING"
            for stream in streams:
                await stream.aclose()
            async with asyncio.timeout(10):
                while True:
                    try:
                        assert (await client.generate(seed=1)).data
                        break
                    except OverloadedError:
                        await asyncio.sleep(0.02)


async def test_connections_beyond_the_limit_are_refused(run_server: RunServer) -> None:
    own = (("grpc.use_local_subchannel_pool", 1),)
    async with run_server(max_connections=1) as server:
        async with grpc.aio.insecure_channel(server.address, options=own) as first:
            health = health_pb2_grpc.HealthStub(first)
            await health.Check(health_pb2.HealthCheckRequest())
            async with grpc.aio.insecure_channel(server.address, options=own) as second:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await health_pb2_grpc.HealthStub(second).Check(health_pb2.HealthCheckRequest(), timeout=3)
                assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
            await health.Check(health_pb2.HealthCheckRequest())


async def test_a_request_id_goes_into_the_log_and_comes_back(
    run_server: RunServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with run_server() as server, grpc.aio.insecure_channel(server.address) as channel:
        call: Any = channel.unary_unary("/nonesuch.v1.ModelService/ListModels")
        for given, kept in (("job-17/3", True), ("a b", False), ("x" * 200, False)):
            running = call(b"", metadata=(("x-request-id", given),))
            await running
            found = str(dict(await running.trailing_metadata())["x-request-id"])
            assert (found == given) == kept
            log = capsys.readouterr()
            assert found in log.out + log.err


@pytest.mark.parametrize("json", [True, False])
async def test_keys_are_never_logged_even_in_tracebacks(
    run_server: RunServer, capsys: pytest.CaptureFixture[str], json: bool
) -> None:
    configure_logs(json=json)

    def broken(batch: object) -> NoReturn:
        raise RuntimeError("a failure of the runtime")

    async with run_server(keys=(ALICE,)) as server:
        session = server.registry.loaded[0].generator.session
        session._run = broken  # type: ignore[method-assign]
        async with AsyncClient(server.address, api_key=KEYS["alice"]) as alice:
            with pytest.raises(ServerError):
                await alice.generate(seed=1)
    written = capsys.readouterr()
    log = written.out + written.err
    assert "a failure of the runtime" in log
    assert KEYS["alice"][:20] not in log


async def test_refused_calls_do_not_count_against_the_limit(run_server: RunServer) -> None:
    async with run_server(images_per_s=0.01, burst_images=2) as server:
        async with AsyncClient(server.address, retries=False) as client:
            for _ in range(5):
                with pytest.raises(RequestError):
                    await client.generate(seed=1, psi=9)
                with pytest.raises(ModelNotFoundError):
                    await client.generate(seed=1, model="nobody")
            for seed in range(2):
                assert (await client.generate(seed=seed)).data
            with pytest.raises(OverloadedError, match=r"'ipv4:127\.0\.0\.1' may ask for"):
                await client.generate(seed=2)


async def test_health_watches_are_limited(run_server: RunServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nonesuch.server.rpc.health.MAX_WATCHES", 3)
    async with run_server() as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(3)]
        for watch in watches:
            await watch.read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Watch(health_pb2.HealthCheckRequest()).read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        watches[0].cancel()
        await until(lambda: server._health._watches != 3)
        assert (await stub.Watch(health_pb2.HealthCheckRequest()).read()).status == 1


async def test_without_keys_every_caller_has_all_scopes(run_server: RunServer) -> None:
    async with run_server() as server, AsyncClient(server.address, api_key="whatever") as client:
        assert (await client.generate(seed=1, priority="bulk")).data


async def test_a_closed_server_is_unavailable_with_and_without_a_key(run_server: RunServer) -> None:
    async with run_server(keys=(ALICE,)) as server:
        address = server.address
    async with AsyncClient(address, api_key=KEYS["alice"], retries=False) as client:
        with pytest.raises(UnavailableError):
            await client.generate(seed=1)
