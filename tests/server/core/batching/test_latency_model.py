from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonesuch.server.core.batching.latency_model import LatencyModel


def test_without_runs_the_prediction_is_the_given_time_per_image() -> None:
    model = LatencyModel(image_ms=50)
    assert [model.run_ms(size) for size in (1, 2, 8)] == [50, 100, 400]


def test_sizes_that_ran_are_as_measured_and_others_on_the_line() -> None:
    model = LatencyModel({1: 12, 2: 14, 4: 18, 8: 26})  # 2 n + 10
    assert model.known == {1: 12, 2: 14, 4: 18, 8: 26}
    slope_ms, start_ms = model.line()
    # The line is fitted with weights that fade a little, to exact points: equal up to rounding.
    assert slope_ms == pytest.approx(2)
    assert start_ms == pytest.approx(10)
    assert model.run_ms(6) == pytest.approx(22)
    assert model.run_ms(16) == pytest.approx(42)


def test_one_size_alone_implies_that_a_run_has_no_fixed_cost() -> None:
    assert LatencyModel({4: 40}).run_ms(8) == pytest.approx(80)


def test_it_follows_a_change() -> None:
    model = LatencyModel({1: 10})
    for _ in range(40):
        model.observe(1, 30)
    assert model.run_ms(1) == pytest.approx(30, rel=0.01)  # a decaying average: 0.8^40 of the old value remains
    assert model.slack < 0.1
    model.observe(1, 60)
    assert 0.1 < model.slack <= 0.5


@pytest.mark.parametrize(
    ("run_ms", "min_gain", "best"),
    [
        ({1: 10, 2: 20, 4: 40, 8: 80}, 0.1, 1),  # every image costs the same
        ({1: 10, 2: 11, 4: 13, 8: 17}, 0.1, 8),  # a batch costs next to nothing
        ({1: 10, 2: 15, 4: 28, 8: 55}, 0.1, 2),  # the second doubling saves 7 %
        ({1: 10, 2: 20, 4: 40, 8: 80}, 0.0, 8),
    ],
)
def test_a_batch_stops_growing_when_doubling_saves_little(run_ms: dict[int, float], min_gain: float, best: int) -> None:
    assert LatencyModel(run_ms).best_size(range(1, 9), min_gain) == best
    assert LatencyModel(run_ms).best_size([1, 2, 4, 8], min_gain) == best


def test_five_images_run_as_four_and_one_if_padding_to_eight_is_slower() -> None:
    model = LatencyModel({1: 10, 4: 20, 8: 40})
    assert model.images_in_next(5, (1, 4, 8), 8) == 4
    assert model.images_in_next(7, (1, 4, 8), 8) == 4
    assert model.images_in_next(8, (1, 4, 8), 8) == 8
    assert model.images_in_next(3, (1, 4, 8), 8) == 3
    assert model.images_in_next(9, (1, 4, 8), 4) == 4


@given(
    runs=st.lists(st.tuples(st.integers(-3, 64), st.floats(allow_nan=True, allow_infinity=True)), max_size=60),
    sizes=st.sets(st.integers(1, 64), min_size=1),
    waiting=st.integers(1, 200),
)
def test_predictions_are_always_plausible(runs: list[tuple[int, float]], sizes: set[int], waiting: int) -> None:
    model = LatencyModel()
    for size, taken_ms in runs:
        model.observe(size, min(taken_ms, 1e12))
    allowed = sorted(sizes)
    assert all(math.isfinite(model.run_ms(size)) and model.run_ms(size) > 0 for size in (*allowed, 100))
    target = model.best_size(allowed, 0.1)
    assert target in sizes
    assert 1 <= model.images_in_next(waiting, allowed, target) <= max(1, min(waiting, target))
