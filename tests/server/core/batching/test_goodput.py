"""Past saturation, and beside bulk work: on a test backend that sleeps `a * n + b`, as client and server share cores.

The same with a real model is a benchmark (`nonesuch bench serve`); here the device is certain and the rest is measured.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np

from nonesuch.client import AsyncClient, DeadlineError, GeneratedImage, OverloadedError
from nonesuch.engine.artifact import Artifact

from ....conftest import REPOSITORY, RunServer
from ...conftest import OpenPaced

IMAGE_MS, RUN_MS, MOST = 10.0, 20.0, 8
BATCH_MS = RUN_MS + MOST * IMAGE_MS
CAPACITY_PER_S = MOST / BATCH_MS * 1e3
SLO_S = 0.6
W = [1.0] * 12


@dataclass(frozen=True)
class Outcome:
    """When a request was due, and the time until its answer or None, in seconds."""

    due_s: float
    latency_s: float | None


async def open_loop(client: AsyncClient, rate_per_s: float, duration_s: float, seed: int) -> list[Outcome]:
    """Poisson arrivals."""
    random = np.random.default_rng(seed)
    due = np.cumsum(random.exponential(1 / rate_per_s, size=int(rate_per_s * duration_s)))
    began = time.perf_counter()

    async def one(at: float) -> Outcome:
        await asyncio.sleep(at - (time.perf_counter() - began))
        # The remaining time until the answer is useless, as a client would set it.
        left_s = SLO_S - (time.perf_counter() - began - at)
        if left_s <= 0:
            return Outcome(at, None)
        try:
            await client.generate(w=W, psi=1.0, deadline_s=left_s)
        except (DeadlineError, OverloadedError):
            return Outcome(at, None)
        return Outcome(at, time.perf_counter() - began - at)

    return await asyncio.gather(*(one(float(at)) for at in due))


def goodput(outcomes: list[Outcome], duration_s: float) -> float:
    """Answers in time per second, counted when they came, while the load was on and the queue had settled."""
    done_s = [one.due_s + one.latency_s for one in outcomes if one.latency_s is not None and one.latency_s <= SLO_S]
    return sum(SLO_S <= at <= duration_s for at in done_s) / (duration_s - SLO_S)


@asynccontextmanager
async def paced_server(artifact: Artifact, **settings: object) -> AsyncIterator[str]:
    """The address of a server in a separate process; see paced_server.py."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.server.core.batching.paced_server", str(artifact.folder),
        str(IMAGE_MS), str(RUN_MS),
        json.dumps({"max_batch_size": MOST, "queue_limit": 1000, **settings}),
        stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().strip()
        process.terminate()
        await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_goodput_stays_past_saturation(artifact: Artifact) -> None:
    seconds = 4.0
    async with paced_server(artifact) as address:
        async with AsyncClient(address, retries=False) as client:
            await open_loop(client, CAPACITY_PER_S, 1.0, seed=0)
            found = {
                load: goodput(await open_loop(client, load * CAPACITY_PER_S, seconds, seed=load), seconds)
                for load in (1, 2, 4)
            }
    peak = max(found.values())
    assert peak > 0.5 * CAPACITY_PER_S, found  # the load did reach the server
    assert found[2] >= 0.9 * peak, found
    assert found[4] >= 0.9 * peak, found


async def test_interactive_calls_wait_for_at_most_one_bulk_batch(artifact: Artifact) -> None:
    async with paced_server(artifact) as address:
        async with AsyncClient(address, retries=False) as client:

            async def p99_ms(seed: int) -> float:
                outcomes = await open_loop(client, 0.2 * CAPACITY_PER_S, 4.0, seed)
                answered = [one.latency_s for one in outcomes if one.latency_s is not None]
                assert len(answered) == len(outcomes)  # none was refused
                return float(np.percentile(answered, 99)) * 1e3

            async def bulk() -> None:
                async with asyncio.TaskGroup() as group:
                    for first in range(2):
                        group.create_task(read(first))

            async def read(first: int) -> None:
                async for _ in client.stream(range(first * 1000, first * 1000 + 1000)):
                    pass

            alone, beside = [], []
            for number in range(2):
                alone.append(await p99_ms(number))
                running = asyncio.create_task(bulk())
                await asyncio.sleep(0.3)
                beside.append(await p99_ms(number))
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
    assert statistics.median(beside) <= statistics.median(alone) + BATCH_MS, (alone, beside)


async def test_a_bulk_stream_of_thousands_finishes_beside_interactive_calls(
    run_server: RunServer, open_paced: OpenPaced
) -> None:
    open_model, _ = open_paced(image_ms=1)
    async with run_server(open_model=open_model, max_batch_size=4, max_images_per_stream=2000) as server:
        async with AsyncClient(server.address, retries=False) as client:
            done = 0

            async def read() -> None:
                nonlocal done
                async for _ in client.stream(range(2000)):
                    done += 1

            reading = asyncio.create_task(read())
            asked = 0
            while not reading.done():
                image = await client.generate(w=W, psi=1.0)
                assert isinstance(image, GeneratedImage)
                asked += 1
            await reading
            assert done == 2000  # interactive calls without a pause did not starve it
            assert asked > 20
