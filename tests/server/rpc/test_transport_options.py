from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from nonesuch.client import AsyncClient
from nonesuch.server.rpc.listener import MAX_REQUEST_BYTES, transport_options
from nonesuch.server.settings import ServerSettings

from ...conftest import RunServer


def test_the_settings_become_channel_arguments() -> None:
    options = dict(transport_options(ServerSettings(keepalive_s=5, connection_age_s=1.5, max_connections=7)))
    assert options["grpc.keepalive_time_ms"] == 5000
    assert options["grpc.max_connection_age_ms"] == 1500
    assert options["grpc.max_connection_age_grace_ms"] == 60_000
    assert options["grpc.max_allowed_incoming_connections"] == 7
    assert options["grpc.so_reuseport"] == 0
    plain = dict(transport_options(ServerSettings(keepalive_s=0)))
    assert not [name for name in plain if "keepalive" in name or "connection_age" in name or "allowed" in name]


async def test_connections_end_with_their_age_and_calls_do_not(run_server: RunServer) -> None:
    async with run_server(connection_age_s=0.3) as server, AsyncClient(server.address, retries=False) as client:
        await client.generate(seed=0)
        changes = 0

        async def watch() -> None:
            nonlocal changes
            while True:
                await client._channel.wait_for_state_change(client._channel.get_state())
                changes += 1

        watching = asyncio.create_task(watch())
        end = asyncio.get_running_loop().time() + 1.5  # a few times the age, and gRPC adds a tenth at random
        seed = 0
        while asyncio.get_running_loop().time() < end:
            seed += 1
            assert (await client.generate(seed=seed)).data
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert changes  # the connection was ended, and a new one took its place


async def test_a_request_beyond_the_limit_is_refused_by_the_transport(run_server: RunServer) -> None:
    async with run_server() as server, grpc.aio.insecure_channel(server.address) as channel:
        call: Any = channel.unary_unary("/nonesuch.v1.GenerationService/Generate")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"\x00" * (MAX_REQUEST_BYTES + 1))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
