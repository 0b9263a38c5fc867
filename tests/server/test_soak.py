"""Many calls without leaks of memory, files and tasks."""

from __future__ import annotations

import asyncio
import os

import pytest

from nonesuch.client import AsyncClient
from nonesuch.server.core.open_model import resident_mib

from ..conftest import RunServer
from ..waiting import until

pytestmark = pytest.mark.slow


async def test_thousands_of_calls_leave_nothing_behind(run_server: RunServer) -> None:
    async with run_server(queue_limit=64) as server, AsyncClient(server.address) as client:

        async def burst(first: int) -> None:
            calls = [asyncio.create_task(client.generate(seed=seed)) for seed in range(first, first + 40)]
            await asyncio.sleep(0.002)
            for call in calls[::2]:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

        for turn in range(50):  # the first rounds fill arenas and caches
            await burst(40 * turn)
        before = (resident_mib(), len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()))
        for turn in range(250):
            await burst(40 * turn)
        after = (resident_mib(), len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()))
        # 10,000 calls: a leak of one 3 KB image each would be 30 MiB; allocators move by a few.
        assert after[0] - before[0] < 15, (before, after)
        assert after[1] <= before[1] + 2
        assert after[2] <= before[2] + 2
        assert (await client.generate(seed=1)).data


async def test_repeated_reloads_leave_nothing_behind(run_server: RunServer) -> None:
    async with run_server(queue_limit=64) as server, AsyncClient(server.address) as client:
        ending = asyncio.Event()

        async def ask(first: int) -> None:
            seed = first
            while not ending.is_set():
                assert (await client.generate(seed=seed)).data
                seed += 4

        async def reload(times: int) -> None:
            for _ in range(times):
                await server.registry.reload("tiny")
                await until(lambda: not server.registry._closing)

        callers = [asyncio.create_task(ask(first)) for first in range(4)]
        await reload(20)  # the first fill arenas and caches
        before = (resident_mib(), len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()))
        await reload(60)
        after = (resident_mib(), len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()))
        ending.set()
        await asyncio.gather(*callers)
        # A session of the tiny model is some 2 MiB: sixty that stay would be far more than allocators move.
        assert after[0] - before[0] < 30, (before, after)
        assert after[1] <= before[1] + 2
        assert after[2] <= before[2] + 4
