"""Predicts run times by batch size: an average for sizes that have run recently, a line a*n + b for the others.

It starts from the measurements at load time and learns from every run. The older the last run of a size, the more the
line counts, so that one slow run does not exclude a size for ever. The batcher uses it for batch sizes and deadlines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

_WEIGHT = 0.1  # of a new run in the average of its size: a change shows after about ten runs
_LEAP, _LEAP_WEIGHT = 2.0, 0.5  # a run this many times longer or shorter indicates a change
_MEMORY = 0.98  # decay per run of the weight of older runs in the line
_MAX_SLACK = 0.5
_MIN_MS = 1e-3
_GOOD_RATE_RATIO = 0.9  # of the max rate: the largest batch this good is taken, so one slow run has little effect


class LatencyModel:
    """Times of one session's runs, in milliseconds."""

    def __init__(self, run_ms: Mapping[int, float] | None = None, *, image_ms: float = 100.0) -> None:
        """`run_ms` has the measured times by batch size; `image_ms` is the time per image without measurements."""
        self._guess_ms = image_ms
        self._average: dict[int, float] = {}
        self._seen: dict[int, int] = {}  # the index of the size's last run
        self._runs = 0
        self._slack = 0.0
        # The weighted sums of a least-squares line: 1, n, n^2, t, n*t.
        self._sums = [0.0] * 5
        for size, taken_ms in sorted((run_ms or {}).items()):
            self.observe(size, taken_ms)
        self._seen = dict.fromkeys(self._seen, self._runs)  # all equally recent

    @property
    def runs(self) -> int:
        """How many runs it has learned from."""
        return self._runs

    @property
    def slack(self) -> float:
        """The average relative error of the predictions, at most `_MAX_SLACK`."""
        return min(self._slack, _MAX_SLACK)

    @property
    def known(self) -> dict[int, float]:
        """The average run time by size, ascending, of the sizes that have run."""
        return dict(sorted(self._average.items()))

    def observe(self, size: int, taken_ms: float) -> None:
        """Learn from a run of a batch of `size`, padding included; an invalid time is ignored."""
        if size < 1 or not (math.isfinite(taken_ms) and taken_ms >= 0):
            return
        taken_ms = max(taken_ms, _MIN_MS)
        before = self._average.get(size)
        self._runs += 1
        self._seen[size] = self._runs
        if before is None:
            self._average[size] = taken_ms
        else:
            self._slack += _WEIGHT * (abs(taken_ms / before - 1) - self._slack)
            leapt = not before / _LEAP <= taken_ms <= before * _LEAP
            self._average[size] = before + (_LEAP_WEIGHT if leapt else _WEIGHT) * (taken_ms - before)
        new = (1.0, size, size * size, taken_ms, size * taken_ms)
        self._sums = [_MEMORY * old + one for old, one in zip(self._sums, new, strict=True)]

    def run_ms(self, size: int) -> float:
        """The expected time of a run of a batch of `size`."""
        slope_ms, start_ms = self.line()
        by_line_ms = max(_MIN_MS, slope_ms * size + start_ms)
        if size not in self._average:
            return by_line_ms
        trust = _MEMORY ** (self._runs - self._seen[size])
        return trust * self._average[size] + (1 - trust) * by_line_ms

    def line(self) -> tuple[float, float]:
        """The line's (a, b) >= 0: milliseconds per image and per run."""
        count, n, n2, t, nt = self._sums
        if count == 0:
            return self._guess_ms, 0.0
        spread = count * n2 - n * n
        # One size does not determine a line; assume that a run has no fixed cost.
        if spread <= 1e-9 * count * n2:
            return t / n, 0.0
        slope_ms = (count * nt - n * t) / spread
        start_ms = (t - slope_ms * n) / count
        if slope_ms < 0:
            return 0.0, t / count
        return (slope_ms, start_ms) if start_ms >= 0 else (nt / n2, 0.0)

    def best_size(self, sizes: Sequence[int], min_gain: float) -> int:
        """The size up to which each doubling saves at least `min_gain` of the time per image; the max if that is 0.

        `sizes` are the possible sizes of a run, ascending.
        """
        if min_gain <= 0:
            return sizes[-1]
        best = sizes[0]
        for size in sizes[1:]:
            doublings = math.log2(size / best)
            if doublings < 1 and size != sizes[-1]:
                continue
            gain = 1 - (self.run_ms(size) / size) / (self.run_ms(best) / best)
            if gain < 1 - (1 - min_gain) ** doublings:
                break
            best = size
        return best

    def images_in_next(self, waiting: int, sizes: Sequence[int], target: int) -> int:
        """How many of the waiting images the next run should take for the max images per second.

        A run is padded to one of `sizes`, so five images can be faster as four and one than as eight.
        """
        allowed = [size for size in sizes if size <= target] or [sizes[0]]
        rates = {min(waiting, size): 0.0 for size in allowed}
        for size in allowed:
            count = min(waiting, size)
            rates[count] = max(rates[count], count / self.run_ms(size))
        best = max(rates.values())
        return max(count for count, rate in rates.items() if rate >= _GOOD_RATE_RATIO * best)
