from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.latents import MAX_SEED, check_psi, check_seed, truncate, z_from_seeds


@settings(deadline=None)
@given(seed=st.integers(0, MAX_SEED))
def test_z_equals_that_of_the_original_scripts(seed: int) -> None:
    z = z_from_seeds([seed], 16)
    assert z.dtype == np.float32
    np.testing.assert_array_equal(z, np.random.RandomState(seed).randn(1, 16).astype(np.float32))


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    together = z_from_seeds([5, 0, MAX_SEED], 7)
    for row, seed in zip(together, [5, 0, MAX_SEED], strict=True):
        np.testing.assert_array_equal(row, z_from_seeds([seed], 7)[0])
    assert z_from_seeds([], 7).shape == (0, 7)


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 1 << 70])
def test_a_seed_out_of_range_is_rejected(seed: int) -> None:
    with pytest.raises(InvalidRequestError, match="seeds are 0 to 4294967295") as caught:
        check_seed(seed, "mixing.seed")
    assert caught.value.violations[0].field == "mixing.seed"


@pytest.mark.parametrize("psi", [-2.0, -0.5, 0.0, 1.0, 2.0])
def test_psi_from_minus_2_to_2_is_accepted(psi: float) -> None:
    assert check_psi(psi) == psi


@pytest.mark.parametrize("psi", [float("nan"), float("inf"), float("-inf"), 2.0001, -2.0001])
def test_other_psi_is_rejected(psi: float) -> None:
    with pytest.raises(InvalidRequestError, match=r"is not within \[-2, 2\]"):
        check_psi(psi)


def test_truncation_is_the_papers_formula() -> None:
    random = np.random.RandomState(0)
    w, w_avg = random.randn(3, 4).astype(np.float32), random.randn(4).astype(np.float32)
    ws = truncate(w, w_avg, 5, 0.5, 2)
    assert ws.shape == (3, 5, 4)
    # Halving is exact, so two roundings remain, of values below 8: two times 2^-22.
    expected = (w_avg.astype(np.float64) + 0.5 * (w.astype(np.float64) - w_avg))[:, None].repeat(2, axis=1)
    np.testing.assert_allclose(ws[:, :2], expected, rtol=0, atol=2**-21)
    np.testing.assert_array_equal(ws[:, 2:], w[:, None].repeat(3, axis=1))


def test_psi_1_changes_no_bit_and_psi_0_is_the_mean() -> None:
    random = np.random.RandomState(0)
    w, w_avg = random.randn(3, 4).astype(np.float32), random.randn(4).astype(np.float32)
    np.testing.assert_array_equal(truncate(w, w_avg, 2, 1.0), w[:, None].repeat(2, axis=1))
    np.testing.assert_array_equal(truncate(w, w_avg, 2, 0.0), np.broadcast_to(w_avg, (3, 2, 4)))
    np.testing.assert_array_equal(truncate(w, w_avg, 2, 0.3, 0), w[:, None].repeat(2, axis=1))


@pytest.mark.parametrize("cutoff", [-1, 6])
def test_a_cutoff_beyond_the_layers_is_rejected(cutoff: int) -> None:
    with pytest.raises(InvalidRequestError, match="the model has 5 layers"):
        truncate(np.zeros((1, 4), np.float32), np.zeros(4, np.float32), 5, 0.5, cutoff)
