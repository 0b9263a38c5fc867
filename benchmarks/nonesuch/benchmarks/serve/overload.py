"""More load than a server can take, and bulk work or visitors beside interactive calls: what is left for these.

    goodput    open loops at 1, 2 and 4 times the closed-loop throughput; each call has the bound of goodput as deadline
    priority   an open loop of interactive calls at a low rate, alone, beside a bulk stream that never ends, and beside
               a crowd at the web page, each of whom fetches one face after another

Goodput counts answers in time, per second, while the load is on and the queue has settled.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nonesuch.client import AsyncClient, ClientError

from ..measurement import BenchmarkError, Case, Measurement
from ..suite import Outcome, Request
from .arrivals import poisson_arrivals
from .closed_loop import run_closed_loop
from .load_report import LoadReport
from .open_loop import run_open_loop
from .request_record import LoadRun
from .server_process import ServerProcess
from .suite import SLO_FACTOR, SUBJECT, check_pictures, expected_pictures
from .visitors import Visitors

__all__ = ["FULL", "QUICK", "SUITE", "OverloadSettings", "measure"]

SUITE = "overload"
_ARRIVALS_SEED = 20_250
_BULK_IMAGES = 1000  # of one stream; when it ends the next begins
_SHOWN = 200
_HONEST = {_SHOWN, 429, 503}  # of HTTP: a picture, or the time to come back


@dataclass(frozen=True)
class OverloadSettings:
    """What the benchmark does.

    Attributes:
        loads: offered rates, as shares of the closed-loop throughput.
        quiet_load: of the interactive calls beside other work, likewise.
        visitors: in the crowd at the web page.
        run_s: how long a load is on; at least three times the bound of goodput.
        most: requests in a run at most.
        rounds: times everything is done.
        server_options: more options of `nonesuch serve`.
    """

    loads: tuple[float, ...] = (1.0, 2.0, 4.0)
    quiet_load: float = 0.3
    visitors: int = 200
    run_s: float = 12.0
    most: int = 2000
    rounds: int = 1
    server_options: tuple[str, ...] = ()


QUICK = OverloadSettings()
FULL = OverloadSettings(run_s=30.0, rounds=3)


def measure(request: Request, settings: OverloadSettings | None = None) -> Outcome:
    """Samples of goodput_per_s, latency and visitors_per_s, the pictures that a crowd got.

    The cases: {"load": L}; {"beside": "nothing", "bulk" or "200 visitors"}; {"visitors": 200}.

    Raises:
        BenchmarkError: the server does not start, or shows another picture.
        NonesuchError: the model cannot be opened.
    """
    if not request.wants(SUBJECT):
        return Outcome()
    settings = settings or (QUICK if request.quick else FULL)
    settings = replace(settings, rounds=request.rounds or settings.rounds)
    expected = expected_pictures(request.model)
    try:
        with ServerProcess(request.model, ("--http", "127.0.0.1:0", *settings.server_options)) as server:
            return asyncio.run(_Overload(request, settings).run(server, expected))
    except ClientError as error:
        raise BenchmarkError(f"the server failed while it was measured: {error}") from error


class _Overload:
    """One run of the benchmark against one server."""

    def __init__(self, request: Request, settings: OverloadSettings) -> None:
        self.say = request.say
        self.settings = settings
        self.seeds: Iterator[int] = itertools.count(2)
        self.random = np.random.default_rng(_ARRIVALS_SEED)
        self.detail = ""
        self.flags: list[str] = []

    async def run(self, server: ServerProcess, expected: NDArray[np.uint8]) -> Outcome:
        async with AsyncClient(server.address, retries=False) as client:
            self.detail = (await client.model()).backend
            await check_pictures(client, expected)
            single = LoadReport.of(await run_closed_loop(client, self.seeds, count=10))
            crowd = LoadReport.of(await run_closed_loop(client, self.seeds, count=40, concurrency=8))
            slo_s = SLO_FACTOR * single.latency.p50 / 1e3
            rate_per_s = max(single.achieved_per_s, crowd.achieved_per_s)
            goodput: dict[float, list[float]] = {load: [] for load in self.settings.loads}
            crowded = f"{self.settings.visitors} visitors"
            latency: dict[str, list[float]] = {"nothing": [], "bulk": [], crowded: []}
            visited: list[float] = []
            for number in range(self.settings.rounds):
                self.say(f"overload: round {number + 1} of {self.settings.rounds}, {rate_per_s:.3g} per second is 1")
                for load, found in goodput.items():
                    found.append(await self._goodput(client, load * rate_per_s, slo_s))
                latency["nothing"] += await self._quiet(client, rate_per_s, slo_s)
                async with _bulk(client, self.seeds):
                    latency["bulk"] += await self._quiet(client, rate_per_s, slo_s)
                async with Visitors(server.web, self.settings.visitors) as visitors:
                    latency[crowded] += await self._quiet(client, rate_per_s, slo_s)
                visited.append(visitors.answers.get(_SHOWN, 0) / visitors.elapsed_s)
                if not set(visitors.answers) <= _HONEST:
                    self.flags.append(f"{SUITE}: the visitors were answered {visitors.answers}")
        why = f"{self.detail}; within {slo_s * 1e3:.0f} ms, {SLO_FACTOR:g} times one image at a time"
        outcome = Outcome(flags=self.flags)
        for load, samples in goodput.items():
            outcome.measurements.append(self._one("goodput_per_s", "1/s", "higher", samples, {"load": load}, why))
        for beside, samples in latency.items():
            outcome.measurements.append(self._one("latency", "ms", "lower", samples, {"beside": beside}, self.detail))
        case: Case = {"visitors": self.settings.visitors}
        outcome.measurements.append(self._one("visitors_per_s", "1/s", "higher", visited, case, self.detail))
        return outcome

    async def _goodput(self, client: AsyncClient, rate_per_s: float, slo_s: float) -> float:
        run_s = max(self.settings.run_s, 3 * slo_s)
        run = await self._open(client, rate_per_s, run_s, slo_s)
        done_s = [one.done_s for one in run.records if one.ok and one.latency_ms <= slo_s * 1e3]
        return sum(slo_s <= at <= run_s for at in done_s) / (run_s - slo_s)

    async def _quiet(self, client: AsyncClient, rate_per_s: float, slo_s: float) -> list[float]:
        """Latencies of interactive calls at the quiet rate, milliseconds."""
        run = await self._open(client, self.settings.quiet_load * rate_per_s, 2 * self.settings.run_s, 10 * slo_s)
        return [one.latency_ms for one in run.records if one.ok]

    async def _open(self, client: AsyncClient, rate_per_s: float, run_s: float, deadline_s: float) -> LoadRun:
        count = max(20, min(self.settings.most, round(rate_per_s * run_s)))
        schedule = poisson_arrivals(rate_per_s, count, self.random)
        run = await run_open_loop(client, schedule, self.seeds, deadline_s=deadline_s)
        misses = LoadReport.of(run).misses
        if misses.too_many:
            self.flags.append(f"{SUITE}: at {rate_per_s:.3g} per second the generator missed its schedule: {misses}")
        return run

    def _one(
        self,
        metric: str,
        unit: str,
        better: Literal["lower", "higher"],
        samples: Sequence[float],
        case: Case,
        detail: str,
    ) -> Measurement:
        return Measurement(
            suite=SUITE, subject=SUBJECT, detail=detail, metric=metric, unit=unit, better=better, case=case,
            samples=list(samples),
        )  # fmt: skip


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
