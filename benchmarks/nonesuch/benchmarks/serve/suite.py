"""The serving benchmark: one server, closed loops, then open loops at shares of the throughput that these found.

Load generator and server share the machine and talk over loopback: on few cores the generator takes a little of what
it measures. Every request has a seed of its own, so no cache can answer; images are JPEG of quality 90.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nonesuch.client import AsyncClient

from ..result import Case, Outcome, Request
from .load import Ask, LoadRun, closed_loop, open_loop, poisson_arrivals
from .server import CHECKED_SEEDS, SUBJECT, checked_server, grpc_ask

WARM_UP_REQUESTS = 3
SLO_FACTOR = 5.0
MAX_SAMPLES = 2000  # per metric and case; of more requests, evenly spaced ones are kept
ENOUGH_FOR_P99 = 660  # requests below which p99 is the word of a handful of them; p90 is judged instead
_ARRIVALS_SEED = 20_240


@dataclass(frozen=True)
class ServeSettings:
    """What the benchmark does."""

    # callers in the closed loops, ascending; the first is 1, whose median is the single-image latency
    concurrency: tuple[int, ...]
    # offered rates of the open loops, as shares of the best closed-loop throughput of the first round
    loads: tuple[float, ...]
    run_s: float  # how long a run is meant to take, within the next two
    min_requests: int  # in a run
    max_requests: int  # in a run
    rounds: int = 1  # times the whole ladder is climbed
    peak_steps: int | None = None  # bisections of the search for the peak rate; None leaves the search out

    def count(self, rate_per_s: float) -> int:
        """Requests for a run at a rate."""
        return max(self.min_requests, min(self.max_requests, round(rate_per_s * self.run_s)))


QUICK = ServeSettings((1, 4, 16), loads=(0.5, 0.8, 1.2), run_s=12, min_requests=20, max_requests=400)
FULL = ServeSettings(
    (1, 4, 16), loads=(0.25, 0.5, 0.75, 0.9, 1.0, 1.25, 1.5), run_s=30, min_requests=100, max_requests=2000, rounds=2,
    peak_steps=5,
)  # fmt: skip


def measure(request: Request, settings: ServeSettings | None = None) -> Outcome:
    """Start `nonesuch serve`, put it under load, and return the measurements.

    Cases are {"loop": "closed", "concurrency": K} and {"loop": "open", "load": S}: rates differ from run to run, and
    shares of the throughput can be compared; `offered_per_s` is the rate. `slo` is the bound of goodput, `peak_rate`
    the highest rate that kept it. Raises BenchmarkError where the server does not start, shows another picture than the
    engine, or gives no images.
    """
    if not request.wants(SUBJECT):
        return Outcome("serve")
    settings = settings or (QUICK if request.quick else FULL)
    settings = replace(settings, rounds=request.rounds or settings.rounds)
    with checked_server(request.model) as server:
        return asyncio.run(_Ladder(request, settings).climb(server.address))


class _Ladder:
    """One run of the benchmark against one server."""

    def __init__(self, request: Request, settings: ServeSettings) -> None:
        self.say = request.say
        self.settings = settings
        self.outcome = Outcome("serve")
        self.seeds = itertools.count(len(CHECKED_SEEDS))
        self.random = np.random.default_rng(_ARRIVALS_SEED)
        self.closed: dict[int, list[LoadRun]] = {number: [] for number in settings.concurrency}
        self.open: dict[float, list[LoadRun]] = {load: [] for load in settings.loads}

    async def climb(self, address: str) -> Outcome:
        settings = self.settings
        async with AsyncClient(address, retries=False) as client:
            detail, ask = (await client.model()).backend, grpc_ask(client)
            await closed_loop([ask], self.seeds, count=WARM_UP_REQUESTS)
            slo_ms = peak_per_s = 0.0
            for number in range(settings.rounds):
                for callers, runs in self.closed.items():
                    # The first run of all finds the rate that sizes the others.
                    known = [found[-1].rate_per_s() for found in self.closed.values() if found]
                    count = max(settings.count(max(known, default=0.0)), 2 * callers)
                    self.say(f"serve: closed loop, {callers} at a time, {count} requests")
                    runs.append(await closed_loop([ask] * callers, self.seeds, count=count))
                if number == 0:
                    slo_ms = SLO_FACTOR * self.closed[1][0].latency_ms
                    peak_per_s = max(runs[0].rate_per_s() for runs in self.closed.values())
                for load, runs in self.open.items():
                    self.say(f"serve: open loop at {load * peak_per_s:.3g} requests per second")
                    runs.append(await self._open(ask, load * peak_per_s, settings.count(load * peak_per_s)))
            why = f"{detail}; {SLO_FACTOR:g} times the latency of one image at a time"
            self.outcome.add(SUBJECT, "slo", [slo_ms], {}, why)
            for concurrency, runs in self.closed.items():
                case: Case = {"loop": "closed", "concurrency": concurrency}
                add_runs(self.outcome, runs, case, f"{concurrency} at a time", slo_ms, detail)
            for load, runs in self.open.items():
                add_runs(self.outcome, runs, {"loop": "open", "load": load}, f"open loop at {load:g}", slo_ms, detail)
            if settings.peak_steps is not None and settings.loads:
                await self._find_peak(ask, peak_per_s, slo_ms, detail)
        return self.outcome

    async def _open(self, ask: Ask, rate_per_s: float, count: int) -> LoadRun:
        return await open_loop(ask, poisson_arrivals(rate_per_s, count, self.random), self.seeds)

    async def _find_peak(self, ask: Ask, peak_per_s: float, slo_ms: float, detail: str) -> None:
        low, high = min(self.open) * peak_per_s, max(self.open) * peak_per_s
        count = self.settings.count(peak_per_s)
        self.say(f"serve: the highest rate within {slo_ms:.0f} ms, {low:.3g} to {high:.3g} per second, {count} each")
        percent = 99 if count >= ENOUGH_FOR_P99 else 90

        async def keeps(rate_per_s: float) -> bool:
            return kept_share(await self._open(ask, rate_per_s, count), slo_ms) >= percent / 100

        rate_per_s = await find_peak(keeps, low, high, self.settings.peak_steps or 0)
        if rate_per_s is not None:
            self.outcome.add(SUBJECT, "peak_rate", [rate_per_s], {"loop": "open", "percentile": percent}, detail)
            return
        reason = f"p{percent} is above the SLO of {slo_ms:.0f} ms at {low:.3g} per second already"
        self.outcome.skip(f"{SUBJECT}: peak rate", reason)


def kept_share(run: LoadRun, slo_ms: float) -> float:
    """The share of the requests that came within the SLO; one that failed counts as one that never came.

    So a server cannot pass by refusing work.
    """
    return sum(record.ok and record.latency_ms <= slo_ms for record in run.records) / len(run.records)


async def find_peak(keeps: Callable[[float], Awaitable[bool]], low: float, high: float, steps: int) -> float | None:
    """Bisect for the highest rate that keeps a promise; None where not even the lowest does.

    Both ends are tried first, then `steps` rates between them. Arrivals are random: near the knee a repetition may
    decide otherwise, and the answer is as fine as the last step.
    """
    if not await keeps(low):
        return None
    if await keeps(high):
        return high
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if await keeps(middle) else (low, middle)
    return low


def add_runs(outcome: Outcome, runs: Sequence[LoadRun], case: Case, name: str, slo_ms: float, detail: str = "") -> None:
    """Add what the runs of one case, one a round, have to say, and flag missed schedules and requests that failed.

    Of images: latency_from_schedule (open loop), latency_from_sending, queue, inference, encode, batch_size,
    schedule_lag (open loop). Of runs: images_per_s (of parts of a closed loop), goodput_per_s, offered_per_s (open
    loop), and for each status but OK `errors`, the share of the requests that ended so. Raises BenchmarkError where not
    one image came in a run.
    """
    is_open = runs[0].offered_per_s is not None
    sent = [record for run in runs for record in run.records]
    done = [record for run in runs for record in run.done]
    columns = {
        "latency_from_sending": [record.sending_latency_ms for record in done],
        "images_per_s": [run.rate_per_s() for run in runs]
        if is_open
        else [r for run in runs for r in run.part_rates()],
        "goodput_per_s": [run.rate_per_s(slo_ms) for run in runs],
        "queue": [record.answer.queue_ms for record in done],
        "inference": [record.answer.inference_ms for record in done],
        "encode": [record.answer.encode_ms for record in done],
        "batch_size": [float(record.answer.batch_size) for record in done],
    }
    if is_open:
        columns["latency_from_schedule"] = [record.latency_ms for record in done]
        columns["schedule_lag"] = [record.lag_ms for record in sent]
        columns["offered_per_s"] = [run.offered_per_s or 0.0 for run in runs]
    for metric, samples in columns.items():
        kept = np.linspace(0, len(samples) - 1, min(len(samples), MAX_SAMPLES)).astype(int)
        outcome.add(SUBJECT, metric, [samples[index] for index in kept], case, detail)
    for code, number in Counter(record.answer.code for record in sent if not record.ok).items():
        outcome.add(SUBJECT, "errors", [number / len(sent)], {**case, "code": code}, detail)
    for run in runs:
        if is_open and run.missed_schedule:
            outcome.flags.append(f"serve, {name}: the generator missed its schedule: {run.missed_schedule}")
        if run.errors:
            errors = ", ".join(f"{number} x {code}" for code, number in sorted(run.errors.items()))
            outcome.flags.append(f"serve, {name}: of {len(run.records)} requests, some got no image: {errors}")
