from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from nonesuch.benchmarks.compare import Verdict, compare_results, noise_floor
from nonesuch.benchmarks.result import Measurement, Result
from nonesuch.benchmarks.summary import ratio_of_medians

SEEDS = 40
SPREAD = 0.10
"""Of a lognormal: the runs of one image on a shared machine scatter about as much."""


def drawn(seed: int, middle: float = 200.0, count: int = 15, **changes: object) -> Measurement:
    samples = (middle * np.random.default_rng(seed).lognormal(0, SPREAD, count)).tolist()
    values = {"suite": "latency", "subject": "ours", "metric": "latency", "unit": "ms", "better": "lower"}
    return Measurement(**(values | {"samples": samples, "case": {"batch": 1}} | changes))  # type: ignore[arg-type]


def result(*measurements: Measurement, **changes: object) -> Result:
    values: dict[str, object] = {
        "created": "2026-01-02T03:04:05+00:00", "command": "nonesuch bench latency", "model": "tiny", "model_id": "0",
        "resolution": 32, "quick": True, "environment": {"cpu": "one", "load_average": "0.1"},
    }  # fmt: skip
    return Result(measurements=list(measurements), **(values | changes))  # type: ignore[arg-type]


def verdict(before: Measurement, after: Measurement) -> Verdict:
    (match,) = compare_results(result(before), result(after)).matches
    return match.verdict


def test_a_slowdown_of_a_fifth_is_seen_in_noise_and_nothing_where_there_is_none() -> None:
    slow = [verdict(drawn(seed), drawn(1000 + seed, 240.0)) for seed in range(SEEDS)]
    fast = [verdict(drawn(seed), drawn(1000 + seed, 200.0 / 1.2)) for seed in range(SEEDS)]
    alike = [verdict(drawn(seed), drawn(1000 + seed)) for seed in range(SEEDS)]
    # 15 samples that scatter by 10 %: the medians scatter by 3 %, so a fifth stands out in nearly every pair of runs.
    assert slow.count(Verdict.WORSE) >= 0.8 * SEEDS
    assert fast.count(Verdict.BETTER) >= 0.7 * SEEDS
    assert Verdict.BETTER not in slow
    assert Verdict.WORSE not in fast
    # A 95 % interval alone would be wrong in 2 of 40; the noise floor leaves at most one.
    assert alike.count(Verdict.SAME) >= SEEDS - 1


def test_more_samples_show_a_smaller_slowdown_and_the_minimum_effect_hides_it() -> None:
    before, after = drawn(0, count=400), drawn(1, 220.0, count=400)
    assert verdict(before, after) is Verdict.WORSE
    (match,) = compare_results(result(before), result(after), min_effect=0.15).matches
    assert match.verdict is Verdict.SAME


def test_a_run_on_a_machine_that_drifts_is_not_believed() -> None:
    quarter = [198.0, 199.0, 200.0, 201.0, 202.0] * 2
    before = drawn(0, samples=[factor * value for factor in (0.8, 1.0, 1.0, 1.2) for value in quarter])
    after = drawn(0, samples=[1.1 * value for value in quarter * 4])
    (match,) = compare_results(result(before), result(after)).matches
    assert match.ratio is not None
    assert not match.ratio.holds(1.0)  # the interval, which knows nothing of the order, is sure
    assert match.verdict is Verdict.SAME


@pytest.mark.parametrize(("better", "expected"), [("lower", Verdict.WORSE), ("higher", Verdict.BETTER)])
def test_a_larger_number_is_worse_or_better_as_the_metric_says(better: str, expected: Verdict) -> None:
    assert verdict(drawn(0, better=better), drawn(1, 300.0, better=better)) is expected


def test_the_worst_comes_first_and_the_line_names_it() -> None:
    names = {"better": 120.0, "worst": 400.0, "same": 200.0, "worse": 300.0}
    before = [drawn(number, subject=name) for number, name in enumerate(names)]
    after = [drawn(50 + number, middle, subject=name) for number, (name, middle) in enumerate(names.items())]
    found = compare_results(result(*before), result(*after))
    assert [match.before.subject for match in found.matches] == ["worst", "worse", "same", "better"]
    assert [match.word for match in found.matches] == ["slower", "slower", "same", "faster"]
    assert len(found.of(Verdict.WORSE)) == 2
    assert found.line.startswith("Regression: 2 worse, 1 better, 1 the same within noise. Worst: worst (latency, ")
    assert [row[3] for row in found.grid.rows] == ["worst", "worse", "same", "better"]


def test_of_two_samples_nothing_is_said() -> None:
    assert verdict(drawn(0, samples=[1.0, 1.1]), drawn(0, samples=[2.0, 2.1])) is Verdict.UNCLEAR
    assert verdict(drawn(0, samples=[7.0]), drawn(0, samples=[7.0])) is Verdict.SAME
    assert verdict(drawn(0, samples=[0.0] * 3), drawn(0, samples=[1.0] * 3)) is Verdict.UNCLEAR  # no ratio to 0


def test_what_one_side_lacks_is_listed_and_what_has_no_better_way_is_not_compared() -> None:
    floor = drawn(0, subject="floor", better="none")
    other_case = drawn(0, case={"batch": 4})
    found = compare_results(result(drawn(0), floor, other_case), result(drawn(0), floor, drawn(0, subject="new")))
    assert [match.before.key for match in found.matches] == [drawn(0).key]
    assert [one.key for one in found.missing] == [other_case.key]
    assert [one.subject for one in found.added] == ["new"]
    assert not found.of(Verdict.WORSE)
    assert found.line.startswith("No regression beyond noise: 0 worse, 0 better, 1 the same")
    assert compare_results(result(), result()).line.startswith("Nothing to compare")


def test_other_machines_models_and_flags_are_warned_of() -> None:
    before = result(drawn(0), flags=["note: the CPU governor is powersave, not performance"])
    environment = {"cpu": "two", "load_average": "3.0", "onnxruntime": "9.9"}
    after = replace(before, environment=environment, model_id="1", quick=False, flags=["serve: busy", "memory: busy"])
    warnings = compare_results(before, after).warnings
    assert warnings == [
        "model id differs: 0 in A, 1 in B",
        "settings differs: quick in A, full in B",
        "cpu differs: one in A, two in B",
        "onnxruntime differs: not recorded in A, 9.9 in B",
        "B is not a clean run: serve: busy; memory: busy",
    ]
    assert compare_results(before, before).warnings == []


def test_the_interval_of_the_ratio_covers_the_truth_about_as_often_as_it_says() -> None:
    # Bootstraps of the median are a little narrow for 15 samples: 95 % by name, above 85 % here.
    intervals = [ratio_of_medians(drawn(1000 + seed, 300.0).samples, drawn(seed).samples) for seed in range(200)]
    covered = [interval is not None and interval.holds(1.5) for interval in intervals]
    assert 0.85 <= sum(covered) / len(covered) < 1.0


def test_the_noise_floor_adds_up_what_wanders() -> None:
    steady, wandering = [1.0] * 8, [1.0, 1.0, 1.2, 1.2, 0.8, 0.8, 1.0, 1.0]
    assert noise_floor(steady, steady) == 0
    one = noise_floor(steady, wandering)
    assert one == pytest.approx(np.std([1.0, 1.2, 0.8, 1.0], ddof=1))
    assert noise_floor(wandering, wandering) == pytest.approx(2**0.5 * one)
    assert noise_floor([3.0], [0.0, 0.0]) == 0
