"""Takes samples of several subjects in turn, round by round, so that a drift of the machine hits all alike.

    round 0: a b c    round 1: b c a    round 2: c a b    ...

The order rotates, so nobody always follows the same neighbour. Warm-up rounds are thrown away. Python's garbage
collector runs between rounds and never inside a sample.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from .result import Request, silent

Sampler = Callable[[int], float]
"""Takes one sample: a round's number in, the sample (of any unit) out. Warm-up rounds are numbered from 0 as well."""


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    A subject leaves once it has had `rounds` samples, or `min_rounds` and `budget_s` seconds of its own. So
    slow subjects stop earlier than fast ones, and sample i of every subject is still of round i.

    Attributes:
        rounds: the maximum number of samples of a subject.
        min_rounds: samples that a subject takes even where that breaks its budget.
        budget_s: seconds that one subject may use for its samples, warm-up excluded; None means unlimited.
        warm_up: rounds before the first that counts.
        settle_s: pause before each sample. The threads of the subject before busy-wait for some milliseconds after
            their last task (ONNX Runtime, OpenMP), and would take cores from the next.
    """

    rounds: int
    min_rounds: int = 3
    budget_s: float | None = None
    warm_up: int = 1
    settle_s: float = 0.03

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.min_rounds < 1 or self.warm_up < 0 or self.settle_s < 0:
            raise ValueError(f"{self} measures nothing: rounds and min_rounds are 1 or more")

    @classmethod
    def of(cls, request: Request, quick: Plan, full: Plan) -> Plan:
        """The quick or the full one; where the request has a number of rounds, so many without a budget."""
        plan = quick if request.quick else full
        if request.rounds is None:
            return plan
        return replace(plan, rounds=request.rounds, min_rounds=request.rounds, budget_s=None)


@dataclass
class Sampled:
    """What was seen.

    Attributes:
        samples: by subject, in the order of the rounds. All subjects start with round 0; some may stop earlier.
        dropped: by subject that failed, why; its samples are not kept.
    """

    samples: dict[str, list[float]] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)


def interleave(samplers: Mapping[str, Sampler], plan: Plan, say: Callable[[str], None] = silent) -> Sampled:
    """Sample every subject in turn, round by round, until each has had its rounds or its time.

    A subject that raises an `Exception` is dropped with the error as its reason; the others go on.
    """
    sampled = Sampled()
    spent_s = dict.fromkeys(samplers, 0.0)
    for number in range(-plan.warm_up, plan.rounds):
        names = [name for name in samplers if name not in sampled.dropped and _goes_on(name, number, plan, spent_s)]
        if not names:
            break
        say(f"round {number + 1} of at most {plan.rounds}" if number >= 0 else "warming up")
        turn = number % len(names)
        with _collector_outside():
            for name in names[turn:] + names[:turn]:
                time.sleep(plan.settle_s)
                start = time.perf_counter()
                try:
                    sample = samplers[name](max(number, 0))
                except Exception as error:  # whatever its runtime raises: a benchmark of the others is still one
                    sampled.dropped[name] = _reason(error)
                    sampled.samples.pop(name, None)
                    continue
                if number >= 0:
                    spent_s[name] += time.perf_counter() - start
                    sampled.samples.setdefault(name, []).append(sample)
    return sampled


def _goes_on(name: str, number: int, plan: Plan, spent_s: Mapping[str, float]) -> bool:
    return number < plan.min_rounds or plan.budget_s is None or spent_s[name] < plan.budget_s


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def _collector_outside() -> Iterator[None]:
    """Collects now, and then not before the end."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
