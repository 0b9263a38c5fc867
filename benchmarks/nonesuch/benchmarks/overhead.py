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
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nonesuch.client import AsyncClient, ClientError
from nonesuch.engine.generator import Generator
from nonesuch.engine.session import SessionOptions

from .interleaved import Plan, interleave
from .measurement import BenchmarkError, Measurement, Skipped
from .serve.closed_loop import run_closed_loop
from .serve.load_report import LoadReport
from .serve.server_process import ServerProcess
from .serve.suite import check_pictures, expected_pictures
from .suite import Outcome, Request

__all__ = ["ENGINE", "SERVER", "SUITE", "measure"]

SUITE = "overhead"
ENGINE = "Generator.generate in a loop"
SERVER = "nonesuch serve"
CONCURRENCY = 8
ROUNDS, QUICK_ROUNDS = 9, 5
IMAGES, QUICK_IMAGES = 24, 12
"""Of one turn at the least."""
TURN_S = 1.0
MOST_IMAGES = 1000


def measure(request: Request) -> Outcome:
    """Samples of images_per_s of both, case {"loop": "saturated"}, and of added_latency of the server with one caller.

    Raises:
        BenchmarkError: the server does not start, or shows another picture.
        NonesuchError: the model cannot be opened.
    """
    outcome = Outcome()
    if not request.wants(SERVER):
        return outcome
    expected = expected_pictures(request.model)
    options = SessionOptions(device="auto", spinning=False)  # as the server: its idle threads sleep
    try:
        with Generator.open(request.model, options=options) as generator, ServerProcess(request.model) as server:
            generator.load()
            _Turns(request, generator, server.address).take(outcome, expected)
    except ClientError as error:
        raise BenchmarkError(f"the server failed while it was measured: {error}") from error
    return outcome


class _Turns:
    """The turns of both."""

    def __init__(self, request: Request, generator: Generator, address: str) -> None:
        self._request = request
        self._generator = generator
        self._address = address
        self._seeds: Iterator[int] = itertools.count(2)
        self._added_ms: list[float] = []

    def take(self, outcome: Outcome, expected: NDArray[np.uint8]) -> None:
        """Check the pictures, then measure."""
        asyncio.run(self._check(expected))
        image_s = self._engine(3) ** -1
        least = QUICK_IMAGES if self._request.quick else IMAGES
        count = max(least, min(MOST_IMAGES, round(TURN_S / image_s)))
        rounds = self._request.rounds or (QUICK_ROUNDS if self._request.quick else ROUNDS)
        samplers = {
            ENGINE: lambda _: self._engine(count),
            SERVER: lambda _: asyncio.run(self._saturated(count)),
            "one caller": lambda _: asyncio.run(self._alone(max(3, count // 3))),
        }
        sampled = interleave(
            samplers, Plan(rounds=rounds, settle_s=0.1), lambda line: self._request.say(f"{SUITE}: {line}")
        )
        for name, reason in sampled.dropped.items():
            outcome.skipped.append(Skipped(suite=SUITE, subject=name, reason=reason))
        detail = self._generator.session.identity
        for name in (ENGINE, SERVER):
            if name in sampled.samples:
                outcome.measurements.append(
                    Measurement(
                        suite=SUITE, subject=name, detail=detail, metric="images_per_s", unit="1/s", better="higher",
                        case={"loop": "saturated"}, samples=sampled.samples[name],
                    )
                )  # fmt: skip
        if self._added_ms:
            outcome.measurements.append(
                Measurement(
                    suite=SUITE, subject=SERVER, detail=detail, metric="added_latency", unit="ms", better="lower",
                    case={"concurrency": 1}, samples=self._added_ms,
                )
            )  # fmt: skip

    def _engine(self, count: int) -> float:
        """Images per second."""
        began = time.perf_counter()
        for seed in itertools.islice(self._seeds, count):
            self._generator.generate([seed])
        return count / (time.perf_counter() - began)

    async def _check(self, expected: NDArray[np.uint8]) -> None:
        async with AsyncClient(self._address, retries=False) as client:
            await check_pictures(client, expected)

    async def _saturated(self, count: int) -> float:
        async with AsyncClient(self._address, retries=False) as client:
            await client.health(wait_for_ready=True)
            run = await run_closed_loop(client, self._seeds, count=count, concurrency=CONCURRENCY)
        return LoadReport.of(run).achieved_per_s

    async def _alone(self, count: int) -> float:
        async with AsyncClient(self._address, retries=False) as client:
            await client.health(wait_for_ready=True)
            run = await run_closed_loop(client, self._seeds, count=count)
        added = [one.sending_latency_ms - one.inference_ms - one.encode_ms for one in run.records if one.ok]
        self._added_ms += added
        return LoadReport.of(run).achieved_per_s
