"""Many callers that cancel, time out, send failing images or do not read: no answer is lost, swapped or leaked."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

from nonesuch.client import (
    AsyncClient,
    ClientError,
    DeadlineError,
    GeneratedImage,
    OverloadedError,
    ServerError,
    UnavailableError,
)
from nonesuch.engine.generator import Generator
from nonesuch.server.server import Server

from ..conftest import RunServer
from ..waiting import until
from .conftest import OpenPaced

W_DIM = 12


def level_of(image: GeneratedImage) -> int:
    """The grey level of a paced session's picture, which is uniform."""
    pixels = image.numpy()
    assert (pixels == pixels[0, 0, 0]).all()
    return int(pixels[0, 0, 0])


def ask(client: AsyncClient, level: int, **options: object) -> Coroutine[Any, Any, GeneratedImage]:
    return client.generate(w=[float(level)] * W_DIM, psi=1.0, format="raw", **options)  # type: ignore[arg-type]


async def settled(server: Server, tasks: int, files: int) -> None:
    """Wait until the calls have released everything."""
    (model,) = server.registry.loaded
    await until(
        lambda: (
            not (model.batcher.waiting or model.batcher.in_flight or model.in_use or len(asyncio.all_tasks()) > tasks)
        )
    )
    assert len(os.listdir("/proc/self/fd")) <= files
    assert not list(model.batcher.queue.all_images())
    assert not model.batcher._rooms


async def test_half_of_500_calls_are_cancelled_at_random_moments(run_server: RunServer, generator: Generator) -> None:
    chance = random.Random(7)
    expected = generator.generate(range(50))
    async with run_server(queue_limit=1000) as server, AsyncClient(server.address, retries=False) as client:
        await client.generate(seed=1)
        tasks, files = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
        calls = [asyncio.create_task(client.generate(seed=n % 50, format="raw")) for n in range(500)]
        victims = chance.sample(calls, 250)
        for victim in victims:
            asyncio.get_running_loop().call_later(chance.random() * 0.4, victim.cancel)
        results = await asyncio.gather(*calls, return_exceptions=True)
        for number, (call, result) in enumerate(zip(calls, results, strict=True)):
            if isinstance(result, GeneratedImage):
                np.testing.assert_array_equal(result.numpy(), expected[number % 50])
            else:
                assert call in victims
                assert isinstance(result, asyncio.CancelledError)
        await settled(server, tasks, files)
        assert (await client.generate(seed=1)).data


async def test_500_calls_with_deadlines_that_few_can_meet(run_server: RunServer, open_paced: OpenPaced) -> None:
    chance = random.Random(8)
    open_model, _ = open_paced(image_ms=2)
    async with run_server(open_model=open_model, queue_limit=400) as server:
        async with AsyncClient(server.address, retries=False) as client:
            await ask(client, 1)
            tasks, files = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
            calls = [
                asyncio.create_task(ask(client, n % 256, deadline_s=0.002 + 0.5 * chance.random())) for n in range(500)
            ]
            results = await asyncio.gather(*calls, return_exceptions=True)
            for number, result in enumerate(results):
                if isinstance(result, GeneratedImage):
                    assert level_of(result) == number % 256
                else:
                    assert isinstance(result, DeadlineError | OverloadedError), result
            await settled(server, tasks, files)
            assert level_of(await ask(client, 200)) == 200


async def test_an_image_that_fails_its_batch_fails_only_its_own_request(
    run_server: RunServer, open_paced: OpenPaced
) -> None:
    open_model, sessions = open_paced(image_ms=1)
    async with run_server(open_model=open_model) as server, AsyncClient(server.address, retries=False) as client:
        sessions[0].failing = lambda ws: bool((ws[:, 0, 0] == 66).any())
        levels = [level for level in range(40) for _ in range(2)] + [66, 66]
        random.Random(9).shuffle(levels)
        results = await asyncio.gather(*(ask(client, level) for level in levels), return_exceptions=True)
        for level, result in zip(levels, results, strict=True):
            if level == 66:
                assert isinstance(result, ServerError)
                assert "its log has the reason under id" in str(result)
            else:
                assert isinstance(result, GeneratedImage)
                assert level_of(result) == level
        assert max(sessions[0].sizes) > 1
        assert level_of(await ask(client, 7)) == 7


async def test_answers_far_beyond_4_mib(run_server: RunServer, open_paced: OpenPaced) -> None:
    open_model, _ = open_paced(resolution=2048)
    async with run_server(open_model=open_model) as server, AsyncClient(server.address) as client:
        images = await asyncio.gather(*(ask(client, level) for level in (3, 4)))
        assert [level_of(image) for image in images] == [3, 4]
        assert len(images[0].data) == 3 * 2048 * 2048


async def test_a_stalled_reader_is_disconnected_after_the_time_limit(
    run_server: RunServer, open_paced: OpenPaced, capsys: pytest.CaptureFixture[str]
) -> None:
    open_model, sessions = open_paced(resolution=1024)
    settings = {"open_model": open_model, "stalled_reader_s": 0.5, "max_batch_size": 2}
    async with run_server(**settings) as server, AsyncClient(server.address) as client:
        stream = client.stream(range(200), format="raw")
        await anext(stream)  # and no more
        (model,) = server.registry.loaded
        async with asyncio.timeout(20):
            await until(lambda: not model.in_use)
            while server.gate._active:  # the call ends too, although its status is not read
                await asyncio.sleep(0.02)
        # Two batches on their way, the messages that the transport had taken, and what ran at the start: not 200.
        assert sum(sessions[0].sizes) < 40
        log = capsys.readouterr()
        assert "nothing was read from the stream for 0.5 s" in log.out + log.err
        async with AsyncClient(server.address) as other:
            assert (await other.generate(seed=1)).data
        with pytest.raises(ClientError):
            async for _ in stream:
                pass
        assert (await client.generate(seed=1)).data


async def test_a_drain_under_traffic_answers_every_accepted_call(run_server: RunServer, open_paced: OpenPaced) -> None:
    open_model, _ = open_paced(image_ms=3)
    outcomes: list[GeneratedImage | BaseException] = []
    async with run_server(open_model=open_model, drain_delay_s=0.1, queue_limit=1000) as server:
        async with AsyncClient(server.address, retries=False) as client:
            await ask(client, 1)

            async def one(level: int) -> None:
                try:
                    image = await ask(client, level)
                    assert level_of(image) == level
                    outcomes.append(image)
                except ClientError as error:
                    outcomes.append(error)

            calls = [asyncio.create_task(one(level)) for level in range(100)]
            async with asyncio.timeout(60):
                while server.gate._active + len(outcomes) < 100:  # all of these were accepted before the drain
                    await asyncio.sleep(0.002)
            stopping = asyncio.create_task(server.stop())
            for level in range(100, 200):
                calls.append(asyncio.create_task(one(level)))
                await asyncio.sleep(0.002)
            await asyncio.gather(*calls)
            await stopping
    assert len(outcomes) == 200
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert all(isinstance(outcome, UnavailableError) for outcome in refused), refused
    assert len(outcomes) - len(refused) >= 100
