"""The engine's best float32 subject against what one would use otherwise, in one run: how many times faster it is.

"The best" is the subject with the lowest median of the run at hand, so the choice itself favours both sides a little.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..latency import FLOOR
from ..measurement import Measurement, Result
from ..subjects.wheel import WheelSubject
from ..summary import Interval, ratio
from .grid import NOTHING, Grid, number
from .grouping import Group, grouped

__all__ = ["Goal", "find_goals", "goals_grid", "is_compiled", "is_eager", "is_ours"]

TARGET_MODEL = "faces"
_REDUCED = re.compile(r"\((fp16|bf16|int8|int4|fp8)")


def is_eager(one: Measurement) -> bool:
    """Whether it is PyTorch without a compiler, in float32."""
    return one.subject.startswith("torch eager") and "float16" not in one.subject


def is_compiled(one: Measurement) -> bool:
    """Whether it is torch.compile, in float32."""
    return one.subject.startswith("torch compile") and "float16" not in one.subject


def is_ours(one: Measurement) -> bool:
    """Whether it is a backend of the engine, in float32."""
    others = (FLOOR, WheelSubject.name)
    return one.subject not in others and not one.subject.startswith("torch") and not _REDUCED.search(one.detail)


@dataclass(frozen=True)
class Goal:
    """One comparison.

    Attributes:
        ours: the engine's best subject.
        against: what it is compared with, in words.
        rival: the subject that stands for it.
        case: "one image", "batch 4".
        ratio: how many times faster ours is; for the floor, how many times longer ours takes.
        target: what this project aims at; None where it has set itself nothing.
        at_most: whether the ratio should be small: that to the floor.
    """

    ours: str
    against: str
    rival: str
    case: str
    ratio: Interval
    target: float | None = None
    at_most: bool = False

    @property
    def verdict(self) -> str:
        """Whether the target is reached: with the whole interval, with none of it, or not to be told from this run."""
        if self.target is None:
            return NOTHING
        low, high = self.ratio.low, self.ratio.high
        reached, missed = (
            (high <= self.target, low > self.target) if self.at_most else (low >= self.target, high < self.target)
        )
        return "reached" if reached else "missed" if missed else "within the interval"


_RIVALS: Sequence[tuple[str, Callable[[Measurement], bool], float, bool]] = (
    ("best PyTorch eager form", is_eager, 4.5, False),
    ("torch.compile", is_compiled, 2.0, False),
    ("the model as published, in OpenVINO", lambda one: one.subject == WheelSubject.name, 1.5, False),
    (FLOOR, lambda one: one.subject == FLOOR, 1.8, True),
)


def find_goals(result: Result) -> list[Goal]:
    """Every comparison that the result has the subjects for: one image by latency, batches by throughput."""
    latency = [group for group in grouped(result.measurements, "latency", "latency") if group.case == {"batch": 1}]
    batches = [
        group for group in grouped(result.measurements, "throughput", "images_per_s") if group.case.get("batch") != 1
    ]
    return [goal for group in latency + batches for goal in _of_group(group, result.model)]


def goals_grid(goals: Sequence[Goal]) -> Grid:
    """The comparisons as a table."""
    rows = [
        [
            goal.case,
            goal.ours,
            goal.against if goal.against == goal.rival else f"{goal.against} ({goal.rival})",
            f"{number(goal.ratio.value)}x {'as long' if goal.at_most else 'faster'}",
            f"{number(goal.ratio.low)} to {number(goal.ratio.high)}",
            NOTHING if goal.target is None else f"{'at most' if goal.at_most else 'at least'} {goal.target:g}x",
            goal.verdict,
        ]
        for goal in goals
    ]
    return Grid(["", "ours", "against", "ratio", "95 %", "goal", ""], rows, left=3)


def _of_group(group: Group, model: str) -> list[Goal]:
    ours = next(filter(is_ours, group.members), None)
    if ours is None:
        return []
    single = group.metric == "latency"
    goals = []
    for against, belongs, target, at_most in _RIVALS:
        rival = next(filter(belongs, group.members), None)
        if rival is None:
            continue
        # Of times ours / floor, but theirs / ours; of rates the other way round.
        above, below = (ours, rival) if at_most or not single else (rival, ours)
        goals.append(
            Goal(
                ours=ours.subject,
                against=against,
                rival=rival.subject,
                case="one image" if single else f"batch {group.case.get('batch')}",
                ratio=ratio(above.samples, below.samples),
                target=target if single and model == TARGET_MODEL else None,
                at_most=at_most,
            )
        )
    return goals
