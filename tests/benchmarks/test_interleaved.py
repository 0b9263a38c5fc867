from __future__ import annotations

import gc
import time

import pytest

from nonesuch.benchmarks.interleaved import Plan, Sampler, interleave


def plan(rounds: int, **changes: float) -> Plan:
    values = {"min_rounds": 1, "warm_up": 0, "settle_s": 0.0, **changes}
    return Plan(rounds=rounds, **values)  # type: ignore[arg-type]


def recorder(calls: list[tuple[str, int]], name: str) -> Sampler:
    def sample(number: int) -> float:
        calls.append((name, number))
        return float(number)

    return sample


def test_subjects_take_turns_in_rotating_order() -> None:
    calls: list[tuple[str, int]] = []
    sampled = interleave({name: recorder(calls, name) for name in "abc"}, plan(3))
    assert calls == [
        *[("a", 0), ("b", 0), ("c", 0)],
        *[("b", 1), ("c", 1), ("a", 1)],
        *[("c", 2), ("a", 2), ("b", 2)],
    ]
    assert sampled.samples == {name: [0.0, 1.0, 2.0] for name in "abc"}
    assert not sampled.dropped


def test_warm_up_rounds_run_and_do_not_count() -> None:
    calls: list[tuple[str, int]] = []
    sampled = interleave({"a": recorder(calls, "a")}, plan(2, warm_up=3))
    assert len(calls) == 5
    assert sampled.samples == {"a": [0.0, 1.0]}


def test_one_that_fails_is_dropped_with_its_reason_and_the_others_go_on() -> None:
    def fails_in_round_1(number: int) -> float:
        if number == 1:
            raise RuntimeError("out of memory\nwith details")
        return 1.0

    calls: list[tuple[str, int]] = []
    sampled = interleave({"bad": fails_in_round_1, "good": recorder(calls, "good")}, plan(4))
    assert sampled.dropped == {"bad": "out of memory"}
    assert sampled.samples == {"good": [0.0, 1.0, 2.0, 3.0]}


def test_one_that_fails_while_warming_up_is_dropped_too() -> None:
    def fails(_: int) -> float:
        raise ValueError

    assert interleave({"bad": fails}, plan(2, warm_up=1)).dropped == {"bad": "ValueError"}


def test_a_slow_subject_leaves_when_its_time_is_up_and_the_fast_one_goes_on() -> None:
    def slow(_: int) -> float:
        time.sleep(0.02)
        return 1.0

    sampled = interleave({"slow": slow, "fast": lambda _: 2.0}, plan(6, min_rounds=3, budget_s=0.03))
    assert len(sampled.samples["slow"]) == 3
    assert len(sampled.samples["fast"]) == 6


def test_the_collector_runs_between_rounds_only() -> None:
    inside: list[bool] = []

    def sample(_: int) -> float:
        inside.append(gc.isenabled())
        return 0.0

    assert gc.isenabled()
    interleave({"a": sample}, plan(2))
    assert inside == [False, False]
    assert gc.isenabled()


@pytest.mark.parametrize("change", [{"rounds": 0}, {"min_rounds": 0}, {"warm_up": -1}, {"settle_s": -1.0}])
def test_a_plan_that_measures_nothing_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="measures nothing"):
        Plan(**{"rounds": 3, **change})
