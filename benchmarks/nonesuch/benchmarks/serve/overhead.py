"""What serving costs on top of the engine: throughput at saturation, and what one caller waits beyond the run.

    engine   Generator.generate in a loop, in this process: pixels, no encoding
    server   nonesuch serve in a process of its own, through nonesuch.client over loopback: JPEG

Both run the same backend with the same options and take turns. With one caller, what an answer took beyond the run and
the encoding that it reports is the server's, the client's and the network's share.
"""

from __future__ import annotations

import asyncio
import itertools
import time

from nonesuch.client import AsyncClient
from nonesuch.engine.generator import Generator
from nonesuch.engine.session import SessionOptions

from ..interleaved import Plan, interleave
from ..result import Outcome, Request
from .load import LoadRun, closed_loop
from .server import CHECKED_SEEDS, SUBJECT, checked_server, grpc_ask

ENGINE = "Generator.generate in a loop"
CONCURRENCY = 8
QUICK, FULL = Plan(rounds=5, settle_s=0.1), Plan(rounds=9, settle_s=0.1)
QUICK_MIN_IMAGES, FULL_MIN_IMAGES, MAX_IMAGES = 12, 24, 1000  # of one turn
TURN_S = 1.0


def measure(request: Request) -> Outcome:
    """Samples of images_per_s of both, case {"loop": "saturated"}, and of added_latency of the server with one caller.

    Raises BenchmarkError where the server does not start, or shows another picture.
    """
    outcome = Outcome("overhead")
    if not request.wants(SUBJECT):
        return outcome
    seeds = itertools.count(len(CHECKED_SEEDS))
    added_ms: list[float] = []
    options = SessionOptions(device="auto", spinning=False)  # as the server: its idle threads sleep
    with checked_server(request.model) as server, Generator.open(request.model, options=options) as generator:

        def engine(count: int) -> float:
            began = time.perf_counter()
            for seed in itertools.islice(seeds, count):
                generator.generate([seed])
            return count / (time.perf_counter() - began)

        async def load(callers: int, count: int) -> LoadRun:
            async with AsyncClient(server.address, retries=False) as client:
                await client.health(wait_for_ready=True)
                return await closed_loop([grpc_ask(client)] * callers, seeds, count=count)

        def alone(count: int) -> float:
            run = asyncio.run(load(1, count))
            added_ms.extend(one.sending_latency_ms - one.answer.inference_ms - one.answer.encode_ms for one in run.done)
            return run.rate_per_s()

        generator.load()
        min_images = QUICK_MIN_IMAGES if request.quick else FULL_MIN_IMAGES
        count = max(min_images, min(MAX_IMAGES, round(TURN_S * engine(3))))
        samplers = {
            ENGINE: lambda _: engine(count),
            SUBJECT: lambda _: asyncio.run(load(CONCURRENCY, count)).rate_per_s(),
            "one caller": lambda _: alone(max(3, count // 3)),
        }
        plan = Plan.of(request, QUICK, FULL)
        sampled = interleave(samplers, plan, lambda line: request.say(f"overhead: {line}"))
        detail = generator.session.identity
    outcome.skip_all(sampled.dropped)
    for name in (ENGINE, SUBJECT):
        if name in sampled.samples:
            outcome.add(name, "images_per_s", sampled.samples[name], {"loop": "saturated"}, detail)
    if added_ms:
        outcome.add(SUBJECT, "added_latency", added_ms, {"concurrency": 1}, detail)
    return outcome
