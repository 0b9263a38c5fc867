"""MLPerf LoadGen ("LoadGen, unofficial") beside our own load generator: same server, same client, same scenarios.

These are no MLPerf results: short runs, no accuracy run, no review. They say whether our generator measures what the
reference generator measures. In the Server scenario ours repeats the arrivals that LoadGen drew, so that what is
compared is the timing and not the luck of two Poisson processes.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Literal

import numpy as np

from nonesuch.client import AsyncClient, ClientError

from .measurement import BenchmarkError, Case, Measurement, Skipped
from .serve.arrivals import Schedule
from .serve.closed_loop import run_closed_loop
from .serve.load_report import LoadReport
from .serve.loadgen_scenario import ScenarioResult, ScenarioSettings, run_scenario
from .serve.open_loop import run_open_loop
from .serve.request_record import LoadRun
from .serve.server_process import ServerProcess
from .serve.suite import check_pictures, expected_pictures
from .suite import Outcome, Request

__all__ = ["FULL", "LOADGEN", "OURS", "QUICK", "RATIO", "LoadGenSettings", "measure"]

SUITE = "loadgen"
LOADGEN = "LoadGen, unofficial"
OURS = "our generator"
RATIO = "our generator over LoadGen"
MAX_DIFFERENCE = 0.1
SLO_FACTOR = 5.0

_Scenario = Literal["Server", "SingleStream", "Offline"]
_SCENARIOS: tuple[_Scenario, ...] = ("SingleStream", "Server", "Offline")
_UNITS: dict[str, tuple[str, Literal["lower", "higher"]]] = {
    "latency_p50": ("ms", "lower"),
    "latency_p90": ("ms", "lower"),
    "images_per_s": ("1/s", "higher"),
}


@dataclass(frozen=True)
class LoadGenSettings:
    """What the cross-check does.

    Attributes:
        min_query_count: requests in a run at least. LoadGen's p90 wants 64 for its early stopping, p99 some 660.
        min_duration_s: of a run; Offline has none.
        load: rate of the Server scenario, as a share of the closed-loop throughput at concurrency 4 measured first.
        share: the percentile that LoadGen judges.
        rounds: times each scenario is run by each generator.
        server_options: more options of `nonesuch serve`.
    """

    min_query_count: int
    min_duration_s: float
    load: float = 0.5
    share: float = 0.9
    rounds: int = 1
    server_options: tuple[str, ...] = ()


QUICK = LoadGenSettings(min_query_count=30, min_duration_s=5)
FULL = LoadGenSettings(min_query_count=200, min_duration_s=60, rounds=3)


def measure(request: Request, settings: LoadGenSettings | None = None) -> Outcome:
    """Run SingleStream, Server and Offline by LoadGen and by our own generator, in turn, against one server.

    Both subjects have the metrics latency_p50, latency_p90 and images_per_s, one sample a round, in the case
    {"scenario": ...}; the subject "our generator over LoadGen" has their ratios. A ratio whose median is further than
    10 % from 1 is flagged.

    Raises:
        BenchmarkError: the server does not start or shows another picture, or LoadGen fails.
        NonesuchError: the model cannot be opened.
    """
    if not (request.wants(LOADGEN) or request.wants(OURS)):
        return Outcome()
    if find_spec("mlperf_loadgen") is None:
        reason = "mlperf_loadgen is not installed; install it with: pip install 'nonesuch[bench]'"
        return Outcome(skipped=[Skipped(suite=SUITE, subject=LOADGEN, reason=reason)])
    settings = settings or (QUICK if request.quick else FULL)
    settings = replace(settings, rounds=request.rounds or settings.rounds)
    expected = expected_pictures(request.model)
    try:
        with ServerProcess(request.model, settings.server_options) as server:
            check = _CrossCheck(request, settings, server.address)
            asyncio.run(check.prepare(expected))
            for number in range(settings.rounds):
                for scenario in _SCENARIOS:
                    check.compare(scenario, number)
            return check.outcome()
    except ClientError as error:
        raise BenchmarkError(f"the server failed while it was measured: {error}") from error


class _CrossCheck:
    """Both generators against one server."""

    def __init__(self, request: Request, settings: LoadGenSettings, address: str) -> None:
        self.say = request.say
        self.settings = settings
        self.address = address
        self.seeds: Iterator[int] = itertools.count(2)  # 0 and 1 were looked at
        self.identity = ""
        self.stream_limit = 1
        self.target_per_s = self.slo_ms = 0.0
        self.samples: dict[tuple[_Scenario, str, str], list[float]] = {}
        self.verdicts: dict[_Scenario, list[str]] = {}
        self.flags: list[str] = []

    async def prepare(self, expected: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
        """Check the pictures; find the rate of the Server scenario and its bound."""
        async with AsyncClient(self.address, retries=False) as client:
            info = await client.model()
            self.identity, self.stream_limit = info.backend, info.limits.max_images_per_stream
            await check_pictures(client, expected)
            single = LoadReport.of(await run_closed_loop(client, self.seeds, count=10))
            crowd = LoadReport.of(await run_closed_loop(client, self.seeds, count=20, concurrency=4))
        self.slo_ms = SLO_FACTOR * single.latency.p50
        self.target_per_s = self.settings.load * max(single.achieved_per_s, crowd.achieved_per_s)

    def compare(self, scenario: _Scenario, number: int) -> None:
        """One scenario by LoadGen, then the same by our own generator."""
        self.say(f"loadgen: {scenario}, round {number + 1} of {self.settings.rounds}")
        theirs = run_scenario(
            ScenarioSettings(
                scenario=scenario,
                address=self.address,
                min_query_count=self.settings.min_query_count,
                min_duration_s=self.settings.min_duration_s,
                target_per_s=self.target_per_s,
                slo_ms=self.slo_ms,
                share=self.settings.share,
                schedule_seed=number + 1,
                first_seed=1_000_000 * (number + 1),  # far from those of our own generator
                stream_limit=self.stream_limit,
            )
        )
        self.verdicts.setdefault(scenario, []).append("VALID" if theirs.valid else "INVALID")
        if theirs.errors:
            self.flags.append(f"{SUITE}, {scenario}: {LOADGEN} got no image for some requests: {theirs.errors}")
        self._add(scenario, LOADGEN, "images_per_s", theirs.images_per_s)
        if scenario != "Offline":
            for percent in (50, 90):
                self._add(scenario, LOADGEN, f"latency_p{percent}", theirs.latency_ms(percent))
        asyncio.run(self._ours(scenario, theirs))

    async def _ours(self, scenario: _Scenario, theirs: ScenarioResult) -> None:
        async with AsyncClient(self.address, retries=False) as client:
            await client.health(wait_for_ready=True)  # as LoadGen's side: connecting is not part of the first request
            if scenario == "Offline":
                self._add(scenario, OURS, "images_per_s", await self._offline(client, len(theirs.issued_s)))
                return
            run = await self._load(client, scenario, theirs)
        report = LoadReport.of(run)
        if report.errors:
            self.flags.append(f"{SUITE}, {scenario}: {OURS} got no image for some requests: {report.errors}")
        if report.misses.too_many:
            self.flags.append(f"{SUITE}, {scenario}: {OURS} missed its schedule: {report.misses}")
        self._add(scenario, OURS, "images_per_s", report.achieved_per_s)
        self._add(scenario, OURS, "latency_p50", report.latency.p50)
        self._add(scenario, OURS, "latency_p90", report.latency.p90)

    async def _load(self, client: AsyncClient, scenario: _Scenario, theirs: ScenarioResult) -> LoadRun:
        if scenario == "SingleStream":
            return await run_closed_loop(client, self.seeds, count=len(theirs.issued_s))
        return await run_open_loop(client, Schedule(np.asarray(theirs.issued_s)), self.seeds)

    async def _offline(self, client: AsyncClient, count: int) -> float:
        """Images per second of `count` images asked for at once, in as few streams as the server takes."""
        first = next(self.seeds)
        for _ in range(count - 1):
            next(self.seeds)

        async def stream(start: int, size: int) -> None:
            seeds = range(first + start, first + start + size)
            async with aclosing(client.stream(seeds, format="jpeg", quality=90)) as images:
                async for _ in images:
                    pass

        began = time.perf_counter()
        limit = self.stream_limit
        await asyncio.gather(*(stream(start, min(limit, count - start)) for start in range(0, count, limit)))
        return count / (time.perf_counter() - began)

    def _add(self, scenario: _Scenario, subject: str, metric: str, value: float) -> None:
        self.samples.setdefault((scenario, subject, metric), []).append(value)

    def outcome(self) -> Outcome:
        """Measurements of both, their ratios, and flags where they differ."""
        outcome = Outcome(flags=list(self.flags))
        for (scenario, subject, metric), values in self.samples.items():
            unit, better = _UNITS[metric]
            case: Case = {"scenario": scenario}
            verdicts = f"{_loadgen_version()}, {', '.join(self.verdicts[scenario])}"
            detail = f"{verdicts}; {self.identity}" if subject == LOADGEN else self.identity
            outcome.measurements.append(
                Measurement(
                    suite=SUITE, subject=subject, detail=detail, metric=metric, unit=unit, better=better, case=case,
                    samples=values,
                )
            )  # fmt: skip
            if subject != OURS:
                continue
            theirs = self.samples[scenario, LOADGEN, metric]
            ratios = [ours / their for ours, their in zip(values, theirs, strict=True)]
            outcome.measurements.append(
                Measurement(
                    suite=SUITE, subject=RATIO, metric=f"{metric}_ratio", unit="", better="none", case=case,
                    samples=ratios,
                )
            )  # fmt: skip
            middle = statistics.median(ratios)
            if abs(middle - 1) > MAX_DIFFERENCE:
                outcome.flags.append(f"{SUITE}, {scenario}: {metric} of {OURS} is {middle:.2f} times that of {LOADGEN}")
        return outcome


def _loadgen_version() -> str:
    try:
        return f"mlcommons-loadgen {version('mlcommons-loadgen')}"
    except PackageNotFoundError:
        return "mlcommons-loadgen"
