from __future__ import annotations

import numpy as np
import pytest

from nonesuch.benchmarks.measurement import BenchmarkError
from nonesuch.benchmarks.serve.arrivals import Schedule, constant_arrivals, poisson_arrivals, step_arrivals


def test_poisson_arrivals_have_exponential_gaps_of_the_rate() -> None:
    count, rate = 20_000, 25.0
    schedule = poisson_arrivals(rate, count, np.random.default_rng(7))
    gaps = np.diff(schedule.times_s, prepend=0.0)
    # Mean and deviation of an exponential are both 1 / rate. The estimates spread by 1/sqrt(n) and sqrt(2/n) of that:
    # 0.7 % and 1 % here; the seed is fixed, and 3 % is more than three times either.
    assert gaps.mean() * rate == pytest.approx(1, abs=0.03)
    assert gaps.std() * rate == pytest.approx(1, abs=0.03)
    # And no memory: neighbouring gaps are not correlated beyond the same spread.
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 0.03
    # Counts in windows of 1 s have a variance equal to their mean, which even or bursty arrivals do not.
    counts = np.histogram(schedule.times_s, bins=np.arange(0, int(schedule.duration_s)))[0]
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.15)  # 800 windows: 5 % of spread, three times that
    assert schedule.offered_per_s == pytest.approx(rate, rel=0.03)


def test_a_seed_repeats_its_arrivals_and_another_does_not() -> None:
    first, same, other = (poisson_arrivals(5, 50, np.random.default_rng(seed)).times_s for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_constant_arrivals() -> None:
    schedule = constant_arrivals(4, 5)
    np.testing.assert_allclose(schedule.times_s, [0, 0.25, 0.5, 0.75, 1.0])
    assert schedule.offered_per_s == pytest.approx(4)
    assert len(schedule) == 5


def test_step_arrivals_change_their_rate_at_once() -> None:
    times = step_arrivals([(10, 1), (50, 2)]).times_s
    assert len(times) == 110
    np.testing.assert_allclose(np.diff(times[:10]), 0.1)
    np.testing.assert_allclose(np.diff(times[10:]), 0.02)
    assert times[10] == pytest.approx(1)


@pytest.mark.parametrize(("rate", "count"), [(0, 5), (-1, 5), (float("nan"), 5), (float("inf"), 5), (1, 0)])
def test_rates_and_counts_that_are_none(rate: float, count: int) -> None:
    with pytest.raises(BenchmarkError, match="rate above 0"):
        constant_arrivals(rate, count)
    with pytest.raises(BenchmarkError, match="rate above 0"):
        poisson_arrivals(rate, count, np.random.default_rng(0))


@pytest.mark.parametrize("times", [[], [1.0, 0.5], [-1.0], [float("nan")]])
def test_times_that_are_no_schedule(times: list[float]) -> None:
    with pytest.raises(BenchmarkError, match="ascending"):
        Schedule(np.asarray(times, dtype=np.float64))


def test_a_step_too_short_for_an_arrival() -> None:
    with pytest.raises(BenchmarkError, match="at least one arrival"):
        step_arrivals([(1, 0.5)])
