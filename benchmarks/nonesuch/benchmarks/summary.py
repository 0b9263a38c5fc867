"""What samples come to: median, quartiles, percentiles, and ratios with an interval.

Times on a shared machine have a long upper tail, so nothing here is a mean. Every interval is a bootstrap with a fixed
seed: the same samples give the same interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .measurement import BenchmarkError

__all__ = ["PERCENTILES", "Interval", "median", "median_interval", "percentile", "percentiles", "quartiles", "ratio"]

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
CONFIDENCE = 0.95
RESAMPLES = 4000
_SEED = 0
_CHUNK_VALUES = 1 << 22  # resampled values in memory at once: 32 MiB


@dataclass(frozen=True)
class Interval:
    """A value and the interval that it lies in with 95 % confidence, in the unit of the samples."""

    value: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies within the interval."""
        return self.low <= value <= self.high


def median(samples: Sequence[float]) -> float:
    """The middle of the samples.

    Raises:
        BenchmarkError: there are none.
    """
    return percentile(samples, 50)


def quartiles(samples: Sequence[float]) -> tuple[float, float]:
    """The first and the third quartile: half of the samples lie between them. Raises as `median`."""
    return percentile(samples, 25), percentile(samples, 75)


def percentile(samples: Sequence[float], percent: float) -> float:
    """The value that `percent` (0 to 100) of the samples do not exceed, interpolated linearly. Raises as `median`.

    A percentile of p needs some 10 / (1 - p/100) samples to mean anything: 100 for p90, 1000 for p99. With fewer it
    approaches the maximum.
    """
    if not len(samples):
        raise BenchmarkError("there are no samples to summarise; measure at least one round")
    return float(np.percentile(np.asarray(samples, dtype=np.float64), percent))


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """p50, p90, p99 and p99.9 by name. Raises as `median`."""
    return {f"p{percent:g}": percentile(samples, percent) for percent in PERCENTILES}


def median_interval(samples: Sequence[float]) -> Interval:
    """The median and its 95 % interval: the percentile bootstrap of the median, 4000 resamples.

    With fewer than 6 samples the true coverage is below 95 %: the interval can be no wider than the samples' range.
    Raises as `median`.
    """
    value = median(samples)
    medians = _resampled_medians(np.asarray(samples, dtype=np.float64))
    tail = (1 - CONFIDENCE) / 2 * 100
    low, high = np.percentile(medians, [tail, 100 - tail])
    return Interval(value, float(low), float(high))


def ratio(a: Sequence[float], b: Sequence[float]) -> Interval:
    """How many times `a` is of `b`: the median of a[i] / b[i], and its 95 % interval over the rounds.

    Sample i of both must be of the same round, taken right after one another, so what slows the machine for both
    cancels. Where one has fewer rounds than the other, the first rounds, which both have, count.

    Raises:
        BenchmarkError: there is no common round, or a sample of b is zero.
    """
    rounds = min(len(a), len(b))
    if not rounds:
        raise BenchmarkError("there is no round that has both subjects; measure them in one run")
    below = np.asarray(b[:rounds], dtype=np.float64)
    if not below.all():
        raise BenchmarkError("a ratio to a sample of 0 was asked for; compare other metrics")
    ratios: list[float] = (np.asarray(a[:rounds], dtype=np.float64) / below).tolist()
    return median_interval(ratios)


def _resampled_medians(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[float]:
    random = np.random.default_rng(_SEED)
    chunk = max(1, _CHUNK_VALUES // len(values))
    medians: list[float] = []
    for start in range(0, RESAMPLES, chunk):
        picks = random.integers(len(values), size=(min(chunk, RESAMPLES - start), len(values)))
        medians += np.median(values[picks], axis=1).tolist()
    return medians
