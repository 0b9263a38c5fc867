"""What samples come to: median, quartiles, percentiles, and ratios with an interval.

Times on a shared machine have a long upper tail, so nothing here is a mean. Every interval is scipy's percentile
bootstrap with a fixed seed: the same samples give the same interval. Below 6 samples its true coverage is below 95 %:
it can be no wider than the range of the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from .result import BenchmarkError

RESAMPLES = 4000
_BATCH_VALUES = 1 << 22  # resampled values in memory at once: 32 MiB


@dataclass(frozen=True)
class Interval:
    """A value and the interval that it lies in with 95 % confidence, in the unit of the samples."""

    value: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies within the interval."""
        return self.low <= value <= self.high


def percentile(samples: Sequence[float], percent: float) -> float:
    """The value that `percent` (0 to 100) of the samples do not exceed, interpolated linearly.

    A percentile of p needs some 10 / (1 - p/100) samples to mean anything: 100 for p90, 1000 for p99. With fewer it
    approaches the maximum. Raises BenchmarkError where there are no samples.
    """
    if not len(samples):
        raise BenchmarkError("there are no samples to summarise; measure at least one round")
    return float(np.percentile(np.asarray(samples, dtype=np.float64), percent))


def median(samples: Sequence[float]) -> float:
    """The middle of the samples. Raises as `percentile`."""
    return percentile(samples, 50)


def median_interval(samples: Sequence[float]) -> Interval:
    """The median and its 95 % interval. Raises as `percentile`."""
    return _interval([samples], np.median)


def ratio(a: Sequence[float], b: Sequence[float]) -> Interval:
    """How many times `a` is of `b`: the median of a[i] / b[i], and its 95 % interval over the rounds.

    Sample i of both must be of the same round, taken right after one another, so what slows the machine for both
    cancels. Where one has fewer rounds than the other, the first rounds, which both have, count. Raises BenchmarkError
    if there is no common round, or a sample of b is zero.
    """
    rounds = min(len(a), len(b))
    if not rounds:
        raise BenchmarkError("there is no round that has both subjects; measure them in one run")
    below = np.asarray(b[:rounds], dtype=np.float64)
    if not below.all():
        raise BenchmarkError("a ratio to a sample of 0 was asked for; compare other metrics")
    ratios: list[float] = (np.asarray(a[:rounds], dtype=np.float64) / below).tolist()
    return median_interval(ratios)


def ratio_of_medians(after: Sequence[float], before: Sequence[float]) -> Interval | None:
    """Median of `after` over median of `before` with its 95 % interval; None where it would divide by 0.

    The samples are of independent runs: both sides are resampled by themselves.
    """
    if not median(before):
        return None
    found = _interval([after, before], lambda a, b, axis: np.median(a, axis=axis) / np.median(b, axis=axis))
    return found if np.isfinite([found.low, found.high]).all() else None


def _interval(samples: Sequence[Sequence[float]], statistic: Callable[..., Any]) -> Interval:
    """A statistic of one or more lists of samples, each resampled by itself."""
    percentile(samples[0], 50)  # raises where there are none
    try:
        stats: Any = import_module("scipy.stats")
    except ImportError as error:
        raise BenchmarkError("intervals need scipy; install it with: pip install 'nonesuch[bench]'") from error
    # scipy wants two values of each: a single one twice is the same distribution.
    data = [np.asarray(values if len(values) > 1 else [*values, *values], dtype=np.float64) for values in samples]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = stats.bootstrap(
            data, statistic, n_resamples=RESAMPLES, batch=max(1, _BATCH_VALUES // max(map(len, data))),
            vectorized=True, axis=-1, confidence_level=0.95, method="percentile",
            random_state=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
        return Interval(float(statistic(*data, axis=-1)), float(found.low), float(found.high))
