"""Several servers behind one client: in turn, and none to a server that is going or gone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from nonesuch.client import AsyncClient, Client, RequestError
from nonesuch.client.channel import call_metadata, target_of
from nonesuch.server.server import Server

from ..conftest import RunServer


async def counts(servers: Sequence[Server]) -> list[int]:
    found = []
    for server in servers:
        (model,) = server.registry.loaded
        found.append(int(server.metrics.registry.get_sample_value(
            "nonesuch_inference_request_success_total", {"model": model.name}
        ) or 0))  # fmt: skip
    return found


async def test_calls_go_to_all_servers_in_turn_and_around_one_that_drains(run_server: RunServer) -> None:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(run_server(drain_delay_s=0.5)) for _ in range(3)]
        async with AsyncClient([server.address for server in servers], retries=False) as client:
            for seed in range(3):  # until all three connections stand
                await client.generate(seed=seed, wait_for_ready=True)
            await asyncio.sleep(0.3)
            before = await counts(servers)
            for seed in range(30):
                await client.generate(seed=seed)
            after = await counts(servers)
            assert [b - a for a, b in zip(before, after, strict=True)] == [10, 10, 10]
            stopping = asyncio.create_task(servers[1].stop())
            await asyncio.sleep(0.2)  # NOT_SERVING has been seen, and calls are still taken
            before = await counts([servers[0], servers[2]])
            for seed in range(20):
                await client.generate(seed=seed)  # without retries: none meets the server that goes
            await stopping
            for seed in range(20):
                await client.generate(seed=seed)
            after = await counts([servers[0], servers[2]])
            assert [b - a for a, b in zip(before, after, strict=True)] == [20, 20]
            assert len([image async for image in client.stream(range(5))]) == 5


async def test_the_client_for_threads_does_the_same(run_server: RunServer) -> None:
    async with run_server() as one, run_server() as two:

        def ask() -> int:
            with Client([one.address, two.address]) as client:
                return sum(bool(client.generate(seed=seed, wait_for_ready=True).data) for seed in range(10))

        assert await asyncio.to_thread(ask) == 10
        assert all(count > 0 for count in await counts([one, two]))


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("host:1", "host:1"),
        (["host:1"], "host:1"),
        ("unix:/run/x", "unix:/run/x"),
        (["10.0.0.1:1", "10.0.0.2:2"], "ipv4:10.0.0.1:1,10.0.0.2:2"),
        (["[::1]:1", "[::2]:2"], "ipv6:[::1]:1,[::2]:2"),
    ],
)
def test_addresses_become_one_target(address: str | list[str], target: str) -> None:
    assert target_of(address) == target


@pytest.mark.parametrize("address", [[], ["a:1", "b:2"], ["10.0.0.1:1", "[::1]:1"], ["10.0.0.1:1", "b:2"]])
def test_several_that_gRPC_cannot_take_together_are_refused(address: list[str]) -> None:  # noqa: N802 - its name
    with pytest.raises(RequestError, match="dns:///host:port"):
        target_of(address)


@pytest.mark.parametrize("key", ["", " spaced ", "two\nlines", "ключ"])
def test_a_key_that_could_not_be_sent_is_refused_and_not_quoted(key: str) -> None:
    with pytest.raises(RequestError, match="it is not a key") as caught:
        call_metadata(key)
    assert not key.strip() or key not in str(caught.value)
