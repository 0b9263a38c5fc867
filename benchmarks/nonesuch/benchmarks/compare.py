"""Two results, A before and B after: what got slower or faster, beyond what chance and drift explain.

The runs are independent, so nothing is paired. A difference counts where all of this holds:

- the 95 % interval of the ratio of the medians, a bootstrap of both, leaves out 1;
- the difference is larger than the least effect that is of interest, 5 % unless said otherwise;
- it is larger than the noise floor: how far medians of consecutive quarters of a run wander, in A and in B together.
  An interval knows nothing of a machine that is slow for a minute; the noise floor does.

Of fewer than 3 samples on either side nothing can be said. Among a hundred measurements of two like runs, one may still
stand out: repeat the run before believing a single line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from .measurement import Measurement, Result
from .reports.grid import NOTHING, Grid, number
from .reports.grouping import case_text, label
from .reports.origin import doubts
from .summary import Interval, median

__all__ = ["LEAST_EFFECT", "Comparison", "Match", "Verdict", "compare_results", "noise_floor", "ratio_of_medians"]

LEAST_EFFECT = 0.05
LEAST_SAMPLES = 3
_BLOCKS = 4
_RESAMPLES = 2000
_CHUNK_VALUES = 1 << 22
_SEED = 0
_VOLATILE = {"load_average"}


class Verdict(StrEnum):
    """What became of one measurement."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"
    UNCLEAR = "too few samples"


@dataclass(frozen=True)
class Match:
    """One measurement that both runs have.

    Attributes:
        before: of A.
        after: of B.
        ratio: of the medians, B over A; None where that of A is 0.
        noise: the noise floor, as a share: 0.07 is 7 %.
        verdict: in the metric's own direction: worse is slower, larger, or fewer images a second.
    """

    before: Measurement
    after: Measurement
    ratio: Interval | None
    noise: float
    verdict: Verdict

    @property
    def harm(self) -> float:
        """By what factor B is worse than A: above 1 is worse, whichever way the metric counts."""
        if self.ratio is None:
            return 1.0
        value = self.ratio.value
        return value if self.before.better == "lower" else 1 / value if value else math.inf

    @property
    def word(self) -> str:
        """The verdict as one says it of times and rates: slower, faster."""
        if self.before.unit not in {"ms", "1/s"}:
            return str(self.verdict)
        return {Verdict.WORSE: "slower", Verdict.BETTER: "faster"}.get(self.verdict, str(self.verdict))


@dataclass(frozen=True)
class Comparison:
    """What two results have to say about one another.

    Attributes:
        matches: what both have, worst first.
        missing: what only A has.
        added: what only B has.
        warnings: why the two may not be comparable, in one line each.
    """

    matches: list[Match]
    missing: list[Measurement]
    added: list[Measurement]
    warnings: list[str]

    def of(self, verdict: Verdict) -> list[Match]:
        """The matches with that verdict."""
        return [match for match in self.matches if match.verdict is verdict]

    @property
    def regressed(self) -> bool:
        """Whether anything is worse beyond noise."""
        return bool(self.of(Verdict.WORSE))

    @property
    def grid(self) -> Grid:
        """Every match in a row, worst first."""
        header = ["suite", "metric", "case", "subject", "A", "B", "B / A", "95 %", "noise", "verdict"]
        return Grid(header, [_row(match) for match in self.matches], left=4)

    @property
    def line(self) -> str:
        """The verdict on the whole, in one line."""
        if not self.matches:
            return "Nothing to compare: the results have no measurement in common."
        worse, better = self.of(Verdict.WORSE), self.of(Verdict.BETTER)
        counts = f"{len(worse)} worse, {len(better)} better, {len(self.of(Verdict.SAME))} the same within noise"
        if unclear := self.of(Verdict.UNCLEAR):
            counts += f", {len(unclear)} with too few samples to tell"
        if not worse:
            return f"No regression beyond noise: {counts}."
        one = worse[0].before
        about = ", ".join(filter(None, [one.suite, label(one.metric), case_text(one.case)]))
        return f"Regression: {counts}. Worst: {one.subject} ({about}), {_worst_text(worse[0])}."


def _worst_text(match: Match) -> str:
    """How much worse, in words: "1.21 times A"."""
    return "A was 0" if match.ratio is None else f"{number(match.ratio.value)} times A"


def compare_results(before: Result, after: Result, least_effect: float = LEAST_EFFECT) -> Comparison:
    """Compare what both results have; metrics that have no better way are left out.

    Args:
        before: A.
        after: B.
        least_effect: differences below this share are never counted: 0.05 is 5 %.
    """
    ours = {one.key: one for one in before.measurements if one.better != "none"}
    theirs = {one.key: one for one in after.measurements if one.better != "none"}
    matches = [_match(one, theirs[key], least_effect) for key, one in ours.items() if key in theirs]
    order = [Verdict.WORSE, Verdict.UNCLEAR, Verdict.SAME, Verdict.BETTER]
    matches.sort(key=lambda match: (order.index(match.verdict), -match.harm))
    return Comparison(
        matches=matches,
        missing=[one for key, one in ours.items() if key not in theirs],
        added=[one for key, one in theirs.items() if key not in ours],
        warnings=_warnings(before, after),
    )


def ratio_of_medians(after: Sequence[float], before: Sequence[float]) -> Interval | None:
    """Median of `after` over median of `before` with its 95 % bootstrap interval; None where it would divide by 0.

    The samples are of independent runs: both sides are resampled by themselves, always with the same seed.
    """
    middle = median(before)
    above, below = _resampled_medians(after, _SEED), _resampled_medians(before, _SEED + 1)
    if not middle or not below.all():
        return None
    low, high = np.percentile(above / below, [2.5, 97.5])
    return Interval(median(after) / middle, float(low), float(high))


def noise_floor(*runs: Sequence[float]) -> float:
    """How far the median wanders within runs, as a share of it: the spread of the medians of consecutive quarters.

    The spreads (standard deviations) of the runs are added as independent ones are: the root of the sum of squares.
    """
    total = 0.0
    for samples in runs:
        blocks = np.array_split(np.asarray(samples, dtype=np.float64), min(_BLOCKS, len(samples)))
        middle = median(samples)
        if len(blocks) > 1 and middle:
            total += float(np.std([np.median(block) for block in blocks], ddof=1) / middle) ** 2
    return math.sqrt(total)


def _match(before: Measurement, after: Measurement, least_effect: float) -> Match:
    noise = noise_floor(before.samples, after.samples)
    if before.samples == after.samples:  # sizes and errors often are
        middle = median(before.samples)
        return Match(before, after, Interval(1.0, 1.0, 1.0) if middle else None, noise, Verdict.SAME)
    ratio = ratio_of_medians(after.samples, before.samples)
    if ratio is None or min(len(before.samples), len(after.samples)) < LEAST_SAMPLES:
        return Match(before, after, ratio, noise, Verdict.UNCLEAR)
    effect = abs(ratio.value - 1)
    if ratio.holds(1.0) or effect <= max(least_effect, noise):
        return Match(before, after, ratio, noise, Verdict.SAME)
    worse = (ratio.value > 1) == (before.better == "lower")
    return Match(before, after, ratio, noise, Verdict.WORSE if worse else Verdict.BETTER)


def _resampled_medians(samples: Sequence[float], seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    values, random = np.asarray(samples, dtype=np.float64), np.random.default_rng(seed)
    chunk = max(1, _CHUNK_VALUES // len(values))
    parts = []
    for start in range(0, _RESAMPLES, chunk):
        picks = random.integers(len(values), size=(min(chunk, _RESAMPLES - start), len(values)))
        parts.append(np.median(values[picks], axis=1))
    return np.concatenate(parts)


def _row(match: Match) -> list[str]:
    one, unit = match.before, f" {match.before.unit}" if match.before.unit else ""
    value, interval = NOTHING, NOTHING
    if match.ratio is not None:
        value = f"{match.ratio.value:.3f}"
        interval = f"{match.ratio.low:.3f} to {match.ratio.high:.3f}"
    medians = [f"{number(median(samples))}{unit}" for samples in (one.samples, match.after.samples)]
    noise = f"{match.noise:.0%}"
    return [
        one.suite,
        label(one.metric),
        case_text(one.case),
        one.subject,
        *medians,
        value,
        interval,
        noise,
        match.word,
    ]


def _warnings(before: Result, after: Result) -> list[str]:
    found = []
    pairs = {
        "model": (before.model, after.model),
        "model id": (before.model_id, after.model_id),
        "resolution": (str(before.resolution), str(after.resolution)),
        "settings": tuple("quick" if one.quick else "full" for one in (before, after)),
    }
    names = sorted((before.environment.keys() | after.environment.keys()) - _VOLATILE)
    unknown = "not recorded"
    pairs |= {name: (before.environment.get(name, unknown), after.environment.get(name, unknown)) for name in names}
    for name, (first, second) in pairs.items():
        if first != second:
            found.append(f"{name.replace('_', ' ')} differs: {first} in A, {second} in B")
    for side, result in (("A", before), ("B", after)):
        if flags := doubts(result):
            found.append(f"{side} is not a clean run: {'; '.join(flags)}")
    return found
