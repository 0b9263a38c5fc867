"""Two results, A before and B after: what got slower or faster, beyond what chance and drift explain.

The runs are independent, so nothing is paired. A difference counts where all of this holds:

- the 95 % interval of the ratio of the medians, a bootstrap of both, leaves out 1;
- the difference is larger than the minimum effect that is of interest, 5 % unless said otherwise;
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

from .reports.grid import NOTHING, Grid, middle, number
from .result import Measurement, Result, case_text, label
from .summary import Interval, median, ratio_of_medians

MIN_EFFECT = 0.05
MIN_SAMPLES = 3
_BLOCKS = 4
# Of older results; nothing that is compared uses it.
_IGNORED = {"load_average", "mlcommons-loadgen"}


class Verdict(StrEnum):
    """What became of one measurement."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"
    UNCLEAR = "too few samples"


@dataclass(frozen=True)
class Match:
    """One measurement that both runs have."""

    before: Measurement  # of A
    after: Measurement  # of B
    ratio: Interval | None  # of the medians, B over A; None where that of A is 0
    noise: float  # the noise floor, as a share: 0.07 is 7 %
    verdict: Verdict  # in the metric's own direction: worse is slower, larger, or fewer images a second

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
    """What two results have to say about one another."""

    matches: list[Match]  # what both have, worst first
    missing: list[Measurement]  # what only A has
    added: list[Measurement]  # what only B has
    warnings: list[str]  # why the two may not be comparable, in one line each

    def of(self, verdict: Verdict) -> list[Match]:
        """The matches with that verdict."""
        return [match for match in self.matches if match.verdict is verdict]

    @property
    def grid(self) -> Grid:
        """Every match in a row, worst first."""
        header = ["suite", "metric", "case", "subject", "A", "B", "B / A", "95 %", "noise", "verdict"]
        rows = [
            [
                one.suite, label(one.metric), case_text(one.case), one.subject, middle(one), middle(match.after),
                f"{ratio.value:.3f}" if ratio else NOTHING,
                f"{ratio.low:.3f} to {ratio.high:.3f}" if ratio else NOTHING, f"{match.noise:.0%}", match.word,
            ]
            for match, one, ratio in ((match, match.before, match.ratio) for match in self.matches)
        ]  # fmt: skip
        return Grid(header, rows, left=4)

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
        one, ratio = worse[0].before, worse[0].ratio
        about = ", ".join(filter(None, [one.suite, label(one.metric), case_text(one.case)]))
        return f"Regression: {counts}. Worst: {one.subject} ({about}), {number(ratio.value if ratio else 0)} times A."


def compare_results(before: Result, after: Result, min_effect: float = MIN_EFFECT) -> Comparison:
    """Compare what both results have; metrics that have no better way are left out.

    Differences below the share `min_effect` are never counted: 0.05 is 5 %.
    """
    ours = {one.key: one for one in before.measurements if one.better != "none"}
    theirs = {one.key: one for one in after.measurements if one.better != "none"}
    matches = [_match(one, theirs[key], min_effect) for key, one in ours.items() if key in theirs]
    order = [Verdict.WORSE, Verdict.UNCLEAR, Verdict.SAME, Verdict.BETTER]
    matches.sort(key=lambda match: (order.index(match.verdict), -match.harm))
    missing = [one for key, one in ours.items() if key not in theirs]
    added = [one for key, one in theirs.items() if key not in ours]
    return Comparison(matches, missing, added, _warnings(before, after))


def noise_floor(*runs: Sequence[float]) -> float:
    """How far the median wanders within runs, as a share of it: the spread of the medians of consecutive quarters.

    The spreads (standard deviations) of the runs are added as independent ones are: the root of the sum of squares.
    """
    total = 0.0
    for samples in runs:
        blocks = np.array_split(np.asarray(samples, dtype=np.float64), min(_BLOCKS, len(samples)))
        if len(blocks) > 1 and median(samples):
            total += float(np.std([np.median(block) for block in blocks], ddof=1) / median(samples)) ** 2
    return math.sqrt(total)


def _match(before: Measurement, after: Measurement, min_effect: float) -> Match:
    noise = noise_floor(before.samples, after.samples)
    if before.samples == after.samples:  # sizes and errors often are
        equal = Interval(1.0, 1.0, 1.0) if median(before.samples) else None
        return Match(before, after, equal, noise, Verdict.SAME)
    ratio = ratio_of_medians(after.samples, before.samples)
    if ratio is None or min(len(before.samples), len(after.samples)) < MIN_SAMPLES:
        return Match(before, after, ratio, noise, Verdict.UNCLEAR)
    effect = abs(ratio.value - 1)
    if ratio.holds(1.0) or effect <= max(min_effect, noise):
        return Match(before, after, ratio, noise, Verdict.SAME)
    worse = (ratio.value > 1) == (before.better == "lower")
    return Match(before, after, ratio, noise, Verdict.WORSE if worse else Verdict.BETTER)


def _warnings(before: Result, after: Result) -> list[str]:
    pairs = {
        "model": (before.model, after.model),
        "model id": (before.model_id, after.model_id),
        "resolution": (str(before.resolution), str(after.resolution)),
        "settings": tuple("quick" if one.quick else "full" for one in (before, after)),
    }
    for name in sorted((before.environment.keys() | after.environment.keys()) - _IGNORED):
        first, second = (one.environment.get(name, "not recorded") for one in (before, after))
        pairs[name] = (first, second)
    found = [
        f"{name.replace('_', ' ')} differs: {first} in A, {second} in B"
        for name, (first, second) in pairs.items()
        if first != second
    ]
    sides = (("A", before), ("B", after))
    return found + [f"{side} is not a clean run: {'; '.join(one.doubts())}" for side, one in sides if one.doubts()]
