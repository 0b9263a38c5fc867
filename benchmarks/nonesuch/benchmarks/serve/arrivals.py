"""When requests arrive in an open loop: absolute times, fixed before the run, whatever the server does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..measurement import BenchmarkError

__all__ = ["Schedule", "constant_arrivals", "poisson_arrivals", "step_arrivals"]


@dataclass(frozen=True)
class Schedule:
    """Times of arrival.

    Attributes:
        times_s: float64 [n], ascending, in seconds from the start of the run.
    """

    times_s: NDArray[np.float64]

    def __post_init__(self) -> None:
        times = self.times_s
        if not len(times) or not np.isfinite(times).all() or times[0] < 0 or (np.diff(times) < 0).any():
            raise BenchmarkError("a schedule has one or more finite times, ascending from 0; give it such times")

    def __len__(self) -> int:
        return len(self.times_s)

    @property
    def duration_s(self) -> float:
        """From the start of the run until the last arrival."""
        return float(self.times_s[-1])

    @property
    def offered_per_s(self) -> float:
        """The rate that these times really have: of a Poisson process it is near the nominal one; 0 for one arrival."""
        between_s = float(self.times_s[-1] - self.times_s[0])
        return (len(self) - 1) / between_s if between_s > 0 else 0.0


def poisson_arrivals(rate_per_s: float, count: int, random: np.random.Generator) -> Schedule:
    """Independent arrivals, as of many users who know nothing of each other: exponential gaps of mean 1 / rate.

    Raises:
        BenchmarkError: the rate or the count is not positive.
    """
    _check(rate_per_s, count)
    return Schedule(np.cumsum(random.exponential(1 / rate_per_s, count)))


def constant_arrivals(rate_per_s: float, count: int) -> Schedule:
    """One arrival every 1 / rate seconds, the first at 0. Raises as `poisson_arrivals`."""
    _check(rate_per_s, count)
    return Schedule(np.arange(count) / rate_per_s)


def step_arrivals(steps: Sequence[tuple[float, float]]) -> Schedule:
    """Rates that change at once: each step is (rate_per_s, duration_s), with even arrivals within it.

    Raises:
        BenchmarkError: a rate or a duration is not positive, or a step is too short for its first arrival.
    """
    start_s, parts = 0.0, []
    for rate_per_s, duration_s in steps:
        _check(rate_per_s, max(0, math.floor(rate_per_s * duration_s)) if math.isfinite(duration_s) else 0)
        parts.append(start_s + np.arange(math.floor(rate_per_s * duration_s)) / rate_per_s)
        start_s += duration_s
    return Schedule(np.concatenate([np.empty(0), *parts]))


def _check(rate_per_s: float, count: int) -> None:
    if not (math.isfinite(rate_per_s) and rate_per_s > 0 and count >= 1):
        asked = f"{count} arrivals at {rate_per_s:g} per second were asked for"
        raise BenchmarkError(f"{asked}; give a rate above 0 and at least one arrival")
