"""Where a server saturates: a sweep of offered rates, and the highest rate that keeps its latency promise."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nonesuch.client import AsyncClient

from .arrivals import poisson_arrivals
from .load_report import quantile
from .open_loop import run_open_loop
from .request_record import LoadRun

__all__ = ["Peak", "Trial", "find_peak", "judged_share", "sweep_rates"]

ENOUGH_FOR_P99 = 660
"""Requests below which p99 is the word of a handful of them; p90 is judged instead."""


@dataclass(frozen=True)
class Trial:
    """One rate that was tried."""

    rate_per_s: float
    latency_ms: float  # at the judged percentile, from the schedule; infinite where too many requests failed
    passed: bool


@dataclass(frozen=True)
class Peak:
    """The highest tried rate that kept the SLO; None where not even the lowest did."""

    rate_per_s: float | None
    share: float  # the judged percentile, 0.9 or 0.99
    slo_ms: float
    trials: list[Trial]


async def sweep_rates(
    client: AsyncClient,
    rates_per_s: Sequence[float],
    seeds: Iterator[int],
    random: np.random.Generator,
    *,
    count: Callable[[float], int],
    deadline_s: float = 60.0,
) -> AsyncIterator[LoadRun]:
    """Run one open loop of Poisson arrivals for each rate, in order; `count` says how many requests a rate gets."""
    for rate_per_s in rates_per_s:
        schedule = poisson_arrivals(rate_per_s, count(rate_per_s), random)
        yield await run_open_loop(client, schedule, seeds, deadline_s=deadline_s)


async def find_peak(
    client: AsyncClient,
    seeds: Iterator[int],
    random: np.random.Generator,
    *,
    between_per_s: tuple[float, float],
    slo_ms: float,
    count: int,
    steps: int = 5,
    deadline_s: float = 60.0,
) -> Peak:
    """Bisect for the highest rate at which p90, or p99 where `count` allows it, is within the SLO.

    Both ends are tried first, then `steps` rates between them. A request that failed counts as one that never came, so
    a server cannot pass by refusing work. Arrivals are random: near the knee a repetition may decide otherwise, and the
    answer is as fine as the last step.
    """
    share, trials = judged_share(count), list[Trial]()

    async def passes(rate_per_s: float) -> bool:
        run = await run_open_loop(client, poisson_arrivals(rate_per_s, count, random), seeds, deadline_s=deadline_s)
        waits_ms = [record.latency_ms if record.ok else math.inf for record in run.records]
        latency_ms = quantile(waits_ms, share)
        trials.append(Trial(rate_per_s, latency_ms, latency_ms <= slo_ms))
        return trials[-1].passed

    low, high = between_per_s
    if not await passes(low):
        return Peak(None, share, slo_ms, trials)
    if await passes(high):
        return Peak(high, share, slo_ms, trials)
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if await passes(middle) else (low, middle)
    return Peak(low, share, slo_ms, trials)


def judged_share(count: int) -> float:
    """The percentile that so many requests can speak of: 0.99 from 660 on, else 0.9."""
    return 0.99 if count >= ENOUGH_FOR_P99 else 0.9
