"""The serving benchmark: one server, closed loops, then open loops at shares of the throughput that these found.

Load generator and server share the machine and talk over loopback: on few cores the generator takes a little of what
it measures. Every request has a seed of its own, so no cache can answer; images are JPEG of quality 90.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nonesuch.client import AsyncClient, ClientError
from nonesuch.engine.generator import Generator

from ..agreement import compare
from ..measurement import BenchmarkError, Case, Measurement, Skipped
from ..suite import Outcome, Request
from .closed_loop import run_closed_loop
from .load_measurements import SUITE, load_flags, load_measurements
from .load_report import LoadReport
from .request_record import LoadRun
from .saturation import find_peak, sweep_rates
from .server_process import ServerProcess

__all__ = ["FULL", "QUICK", "SUBJECT", "ServeSettings", "check_pictures", "expected_pictures", "measure"]

SUBJECT = "nonesuch serve"
CHECKED_SEEDS = (0, 1)
WARM_UP_REQUESTS = 3
SLO_FACTOR = 5.0
_ARRIVALS_SEED = 20_240


@dataclass(frozen=True)
class ServeSettings:
    """What the benchmark does.

    Attributes:
        concurrency: callers in the closed loops, ascending; the first is 1, whose median is the single-image latency.
        loads: offered rates of the open loops, as shares of the best closed-loop throughput of the first round.
        run_s: how long a run is meant to take, within the next two.
        least: requests in a run at least.
        most: requests in a run at most.
        rounds: times the whole ladder is climbed.
        peak_steps: bisections of the search for the peak rate; None leaves the search out.
        slo_ms: the bound of goodput; None is 5 times the single-image latency.
        server_options: more options of `nonesuch serve`.
    """

    concurrency: tuple[int, ...]
    loads: tuple[float, ...]
    run_s: float
    least: int
    most: int
    rounds: int = 1
    peak_steps: int | None = None
    slo_ms: float | None = None
    server_options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.concurrency[:1] != (1,) or not self.rounds >= 1 or not 1 <= self.least <= self.most:
            raise BenchmarkError(
                f"{self.concurrency}, {self.rounds} rounds of {self.least} to {self.most} requests cannot be measured; "
                "start with concurrency 1, and give at least one round and one request"
            )

    def count(self, rate_per_s: float) -> int:
        """Requests for a run at a rate."""
        return max(self.least, min(self.most, round(rate_per_s * self.run_s)))


QUICK = ServeSettings(concurrency=(1, 4, 16), loads=(0.5, 0.8, 1.2), run_s=12, least=20, most=400)
FULL = ServeSettings(
    concurrency=(1, 4, 16), loads=(0.25, 0.5, 0.75, 0.9, 1.0, 1.25, 1.5), run_s=30, least=100, most=2000, rounds=2,
    peak_steps=5,
)  # fmt: skip


def measure(request: Request, settings: ServeSettings | None = None) -> Outcome:
    """Start `nonesuch serve`, load it, and say what came of it.

    Cases are {"loop": "closed", "concurrency": K} and {"loop": "open", "load": S}: rates differ from run to run, and
    shares of the throughput can be compared; `offered_per_s` is the rate. `slo` is the bound of goodput, `peak_rate`
    the highest rate that kept it.

    Raises:
        BenchmarkError: the server does not start, shows another picture than the engine, or gives no images.
        NonesuchError: the model cannot be opened.
    """
    if not request.wants(SUBJECT):
        return Outcome()
    settings = settings or (QUICK if request.quick else FULL)
    settings = replace(settings, rounds=request.rounds or settings.rounds)
    expected = expected_pictures(request.model)
    try:
        with ServerProcess(request.model, settings.server_options) as server:
            return asyncio.run(_Ladder(request, settings).climb(server.address, expected))
    except ClientError as error:
        raise BenchmarkError(f"the server failed while it was measured: {error}") from error


def expected_pictures(model: str) -> NDArray[np.uint8]:
    """What the engine itself makes of the checked seeds, uint8 [n, H, W, C]; it is unloaded again."""
    with Generator.open(model) as generator:
        return generator.generate(CHECKED_SEEDS)


async def check_pictures(client: AsyncClient, expected: NDArray[np.uint8]) -> None:
    """Compare the server's pictures with the engine's, before anything is timed.

    Raises:
        BenchmarkError: they differ by more than rounding.
        ClientError: the server does not make them.
    """
    for seed, picture in zip(CHECKED_SEEDS, expected, strict=True):
        found = (await client.generate(seed=seed, format="raw")).numpy()
        if problem := compare(found[None], picture[None]).problem():
            raise BenchmarkError(f"the server was asked for seed {seed}: {problem}")


class _Ladder:
    """One run of the benchmark against one server."""

    def __init__(self, request: Request, settings: ServeSettings) -> None:
        self.say = request.say
        self.settings = settings
        self.seeds: Iterator[int] = itertools.count(len(CHECKED_SEEDS))
        self.random = np.random.default_rng(_ARRIVALS_SEED)
        self.closed: dict[int, list[LoadRun]] = {number: [] for number in settings.concurrency}
        self.open: dict[float, list[LoadRun]] = {load: [] for load in settings.loads}
        self.detail = ""

    async def climb(self, address: str, expected: NDArray[np.uint8]) -> Outcome:
        settings, outcome = self.settings, Outcome()
        async with AsyncClient(address, retries=False) as client:
            self.detail = (await client.model()).backend
            await check_pictures(client, expected)
            await run_closed_loop(client, self.seeds, count=WARM_UP_REQUESTS)
            slo_ms = peak_per_s = 0.0
            for number in range(settings.rounds):
                await self._climb_closed(client)
                if number == 0:
                    slo_ms = settings.slo_ms or SLO_FACTOR * LoadReport.of(self.closed[1][0]).latency.p50
                    peak_per_s = max(LoadReport.of(runs[0]).achieved_per_s for runs in self.closed.values())
                await self._climb_open(client, peak_per_s)
            why = "as given" if settings.slo_ms else f"{SLO_FACTOR:g} times the latency of one image at a time"
            outcome.measurements.append(self._one("slo", "ms", "none", slo_ms, detail=f"{self.detail}; {why}"))
            self._report(outcome, slo_ms)
            if settings.peak_steps is not None and settings.loads:
                await self._find_peak(client, outcome, peak_per_s, slo_ms)
        return outcome

    async def _climb_closed(self, client: AsyncClient) -> None:
        # The first run of all finds the rate that sizes the others.
        for number, runs in self.closed.items():
            known = [LoadReport.of(found[-1]).achieved_per_s for found in self.closed.values() if found]
            count = max(self.settings.count(max(known, default=0.0)), 2 * number)
            self.say(f"serve: closed loop, {number} at a time, {count} requests")
            runs.append(await run_closed_loop(client, self.seeds, count=count, concurrency=number))

    async def _climb_open(self, client: AsyncClient, peak_per_s: float) -> None:
        rates = [load * peak_per_s for load in self.open]
        if rates:
            self.say(f"serve: open loops at {', '.join(f'{rate:.3g}' for rate in rates)} requests per second")
        sweep = sweep_rates(client, rates, self.seeds, self.random, count=self.settings.count)
        points = iter(self.open.values())
        async for run in sweep:
            next(points).append(run)

    async def _find_peak(self, client: AsyncClient, outcome: Outcome, peak_per_s: float, slo_ms: float) -> None:
        low, high = min(self.open) * peak_per_s, max(self.open) * peak_per_s
        steps, count = self.settings.peak_steps or 0, self.settings.count(peak_per_s)
        self.say(f"serve: the highest rate within {slo_ms:.0f} ms, {low:.3g} to {high:.3g} per second, {count} each")
        between = (low, high)
        peak = await find_peak(
            client, self.seeds, self.random, between_per_s=between, slo_ms=slo_ms, count=count, steps=steps
        )
        percentile = round(100 * peak.share)
        if peak.rate_per_s is None:
            reason = f"p{percentile} is above the SLO of {slo_ms:.0f} ms at {low:.3g} per second already"
            outcome.skipped.append(Skipped(suite=SUITE, subject=f"{SUBJECT}: peak rate", reason=reason))
            return
        case: Case = {"loop": "open", "percentile": percentile}
        outcome.measurements.append(self._one("peak_rate", "1/s", "higher", peak.rate_per_s, case=case))

    def _report(self, outcome: Outcome, slo_ms: float) -> None:
        cases: list[tuple[Case, str, list[LoadRun]]] = []
        cases += [({"loop": "closed", "concurrency": n}, f"{n} at a time", runs) for n, runs in self.closed.items()]
        cases += [({"loop": "open", "load": x}, f"open loop at {x:g}", runs) for x, runs in self.open.items()]
        for case, name, runs in cases:
            outcome.measurements += load_measurements(
                runs, subject=SUBJECT, case=case, slo_ms=slo_ms, detail=self.detail
            )
            outcome.flags += load_flags(runs, name)

    def _one(
        self,
        metric: str,
        unit: str,
        better: Literal["lower", "higher", "none"],
        value: float,
        *,
        case: Case | None = None,
        detail: str = "",
    ) -> Measurement:
        return Measurement(
            suite=SUITE,
            subject=SUBJECT,
            detail=detail or self.detail,
            metric=metric,
            unit=unit,
            better=better,
            case=case or {},
            samples=[value],
        )
