from __future__ import annotations

from msgspec.structs import replace

from nonesuch.benchmarks.latency import FLOOR
from nonesuch.benchmarks.reports.goals import find_goals, goals_grid

from .conftest import TIMES_MS, MakeResult


def test_the_best_of_ours_is_held_against_the_best_of_each_kind(make_result: MakeResult) -> None:
    goals = {goal.rival: goal for goal in find_goals(make_result()) if goal.case == "one image"}
    best_eager = "torch eager, inference form, channels_last"
    compiled = "torch compile, inference form, channels_last"
    assert list(goals) == [best_eager, compiled, "wheel network in OpenVINO", FLOOR]
    for rival, goal in goals.items():
        assert goal.ours == "openvino"
        truth = TIMES_MS["openvino"] / 110 if rival == FLOOR else TIMES_MS[rival] / TIMES_MS["openvino"]
        # Medians of 15 ratios of samples that scatter by 6 % each: 3 % either way, three times that allowed.
        assert abs(goal.ratio.value / truth - 1) < 0.09
        assert goal.ratio.low <= goal.ratio.value <= goal.ratio.high
    assert goals[best_eager].verdict == "reached"  # 5 of 4.5
    assert goals[FLOOR].verdict == "reached"  # 1.64 of at most 1.8


def test_a_slow_engine_misses_its_goals(make_result: MakeResult) -> None:
    result = make_result()
    slow = [
        replace(one, samples=[2 * value for value in one.samples])
        if (one.suite, one.subject) in {("latency", "openvino"), ("latency", "onnxruntime")}
        else one
        for one in result.measurements
    ]
    verdicts = [goal.verdict for goal in find_goals(replace(result, measurements=slow)) if goal.case == "one image"]
    assert verdicts == ["missed"] * 4


def test_reduced_precision_is_not_the_best_of_ours(make_result: MakeResult) -> None:
    result = make_result()
    reduced = [
        replace(one, detail="synthesis-int8.onnx (int8)") if one.subject == "openvino" else one
        for one in result.measurements
    ]
    assert {goal.ours for goal in find_goals(replace(result, measurements=reduced))} == {"onnxruntime"}


def test_batches_are_compared_by_rate_and_other_models_have_no_goals(make_result: MakeResult) -> None:
    goals = find_goals(make_result(model="other"))
    assert {goal.case for goal in goals} == {"one image", "batch 2", "batch 4"}
    assert all(goal.target is None for goal in goals)
    rate = next(goal for goal in goals if goal.case == "batch 4" and goal.rival.startswith("torch compile"))
    assert abs(rate.ratio.value / (TIMES_MS[rate.rival] / TIMES_MS["openvino"]) - 1) < 0.12  # as above, of 10 rounds
    assert len(goals_grid(goals).rows) == len(goals)


def test_without_rivals_there_is_nothing_to_say(make_result: MakeResult) -> None:
    result = make_result()
    only = [one for one in result.measurements if one.subject.startswith("torch")]
    assert find_goals(replace(result, measurements=only)) == []
