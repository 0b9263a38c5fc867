"""More load than a server can take, and bulk work or visitors beside interactive calls: what is left for these.

    goodput    open loops at 1, 2 and 4 times the closed-loop throughput; each call has the bound of goodput as deadline
    priority   an open loop of interactive calls at a low rate, alone, beside a bulk stream that never ends, and beside
               a crowd at the web page, each of whom fetches one face after another

Goodput counts answers in time, per second, while the load is on and the queue has settled.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

import numpy as np

from nonesuch.client import AsyncClient

from ..result import Outcome, Request
from .load import Ask, LoadRun, closed_loop, open_loop, poisson_arrivals
from .server import CHECKED_SEEDS, SUBJECT, ServerProcess, checked_server, grpc_ask
from .suite import SLO_FACTOR
from .visitors import visitors

_ARRIVALS_SEED = 20_250
_BULK_IMAGES = 1000  # of one stream; when it ends the next begins
_SHOWN = 200
_EXPECTED_ANSWERS = {_SHOWN, 429, 503}  # of HTTP: a picture, or the time to come back


@dataclass(frozen=True)
class OverloadSettings:
    """What the benchmark does."""

    loads: tuple[float, ...] = (1.0, 2.0, 4.0)  # offered rates, as shares of the closed-loop throughput
    quiet_load: float = 0.3  # of the interactive calls beside other work, likewise
    visitors: int = 200  # in the crowd at the web page
    run_s: float = 12.0  # how long a load is on; three times the bound of goodput where that is longer
    max_requests: int = 2000  # in a run
    rounds: int = 1  # times everything is done


QUICK = OverloadSettings()
FULL = OverloadSettings(run_s=30.0, rounds=3)


def measure(request: Request, settings: OverloadSettings | None = None) -> Outcome:
    """Samples of goodput_per_s, latency and visitors_per_s, the pictures that a crowd got.

    The cases: {"load": L}; {"beside": "nothing", "bulk" or "200 visitors"}; {"visitors": 200}. Raises BenchmarkError
    where the server does not start, or shows another picture.
    """
    if not request.wants(SUBJECT):
        return Outcome("overload")
    settings = settings or (QUICK if request.quick else FULL)
    settings = replace(settings, rounds=request.rounds or settings.rounds)
    with checked_server(request.model, ("--http", "127.0.0.1:0")) as server:
        return asyncio.run(_Overload(request, settings).run(server))


class _Overload:
    """One run of the benchmark against one server."""

    def __init__(self, request: Request, settings: OverloadSettings) -> None:
        self.say = request.say
        self.settings = settings
        self.outcome = Outcome("overload")
        self.seeds = itertools.count(len(CHECKED_SEEDS))
        self.random = np.random.default_rng(_ARRIVALS_SEED)

    async def run(self, server: ServerProcess) -> Outcome:
        settings, outcome = self.settings, self.outcome
        async with AsyncClient(server.address, retries=False) as client:
            detail, ask = (await client.model()).backend, grpc_ask(client)
            single = await closed_loop([ask], self.seeds, count=10)
            several = await closed_loop([ask] * 8, self.seeds, count=40)
            slo_s = SLO_FACTOR * single.latency_ms / 1e3
            rate_per_s = max(single.rate_per_s(), several.rate_per_s())
            goodput: dict[float, list[float]] = {load: [] for load in settings.loads}
            crowded = f"{settings.visitors} visitors"
            latency: dict[str, list[float]] = {"nothing": [], "bulk": [], crowded: []}
            visited: list[float] = []
            for number in range(settings.rounds):
                self.say(f"overload: round {number + 1} of {settings.rounds}, {rate_per_s:.3g} per second is 1")
                for load, found in goodput.items():
                    found.append(await self._goodput(ask, load * rate_per_s, slo_s))
                latency["nothing"] += await self._quiet(ask, rate_per_s, slo_s)
                async with _bulk(client, self.seeds):
                    latency["bulk"] += await self._quiet(ask, rate_per_s, slo_s)
                with visitors(server.web, settings.visitors) as crowd:
                    latency[crowded] += await self._quiet(ask, rate_per_s, slo_s)
                visited.append(crowd.answers.get(_SHOWN, 0) / crowd.elapsed_s)
                if not set(crowd.answers) <= _EXPECTED_ANSWERS:
                    outcome.flags.append(f"overload: the visitors were answered {crowd.answers}")
        why = f"{detail}; within {slo_s * 1e3:.0f} ms, {SLO_FACTOR:g} times one image at a time"
        for load, samples in goodput.items():
            outcome.add(SUBJECT, "goodput_per_s", samples, {"load": load}, why)
        for beside, samples in latency.items():
            outcome.add(SUBJECT, "latency", samples, {"beside": beside}, detail)
        outcome.add(SUBJECT, "visitors_per_s", visited, {"visitors": settings.visitors}, detail)
        return outcome

    async def _goodput(self, ask: Ask, rate_per_s: float, slo_s: float) -> float:
        run_s = max(self.settings.run_s, 3 * slo_s)
        run = await self._open(ask, rate_per_s, run_s, slo_s)
        done_s = [one.done_s for one in run.records if one.ok and one.latency_ms <= slo_s * 1e3]
        return sum(slo_s <= at <= run_s for at in done_s) / (run_s - slo_s)

    async def _quiet(self, ask: Ask, rate_per_s: float, slo_s: float) -> list[float]:
        """Latencies of interactive calls at the quiet rate, milliseconds."""
        run = await self._open(ask, self.settings.quiet_load * rate_per_s, 2 * self.settings.run_s, 10 * slo_s)
        return [one.latency_ms for one in run.done]

    async def _open(self, ask: Ask, rate_per_s: float, run_s: float, deadline_s: float) -> LoadRun:
        count = max(20, min(self.settings.max_requests, round(rate_per_s * run_s)))
        arrivals_s = poisson_arrivals(rate_per_s, count, self.random)
        run = await open_loop(ask, arrivals_s, self.seeds, deadline_s=deadline_s)
        if missed := run.missed_schedule:
            self.outcome.flags.append(
                f"overload: at {rate_per_s:.3g} per second the generator missed its schedule: {missed}"
            )
        return run


@asynccontextmanager
async def _bulk(client: AsyncClient, seeds: Iterator[int]) -> AsyncIterator[None]:
    """A bulk stream that is read as fast as it comes, as long as the block."""

    async def read() -> None:
        while True:
            part = list(itertools.islice(seeds, _BULK_IMAGES))
            async with aclosing(client.stream(part, format="jpeg", quality=90, priority="bulk")) as images:
                async for _ in images:
                    pass

    reading = asyncio.create_task(read())
    try:
        await asyncio.sleep(0.5)  # until its first batches are on the device
        yield
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
