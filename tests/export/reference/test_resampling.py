from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nonesuch.export.reference.resampling import Padding, upfirdn

RANDOM = np.random.RandomState(0)
PICTURE = RANDOM.randn(2, 3, 7, 6)
# Asymmetric, so that a reversed filter is detected.
TAPS = RANDOM.randn(5)


def by_definition(
    x: NDArray[np.float64], taps: NDArray[np.float64], up: int, down: int, padding: Padding
) -> NDArray[np.float64]:
    """Compute the definition in float64: insert zeros, pad or crop, convolve, keep every down-th sample."""
    n, c, rows, columns = x.shape
    stretched = np.zeros((n, c, rows * up, columns * up))
    stretched[:, :, ::up, ::up] = x
    left, right, top, bottom = padding
    wide = [(0, 0), (0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))]
    padded = np.pad(stretched, wide)
    padded = padded[:, :, max(-top, 0) :, max(-left, 0) :]
    padded = padded[:, :, : padded.shape[2] - max(-bottom, 0), : padded.shape[3] - max(-right, 0)]
    size_y, size_x = padded.shape[2] - taps.shape[0] + 1, padded.shape[3] - taps.shape[1] + 1
    out = np.zeros((n, c, size_y, size_x))
    for i in range(taps.shape[0]):
        for j in range(taps.shape[1]):
            out += taps[::-1, ::-1][i, j] * padded[:, :, i : i + size_y, j : j + size_x]
    return out[:, :, ::down, ::down]


@pytest.mark.parametrize("up", [1, 2, 4])
@pytest.mark.parametrize("down", [1, 2, 3])
@pytest.mark.parametrize(
    "padding", [Padding(), Padding(4, 3, 2, 1), Padding(0, 6, 5, 0), Padding(-1, 2, 3, -1), Padding(-1, 0, 0, -1)]
)
@pytest.mark.parametrize("separable", [True, False])
def test_it_matches_the_definition(up: int, down: int, padding: Padding, separable: bool) -> None:
    taps = TAPS if separable else RANDOM.randn(5, 5)
    expected = 3 * by_definition(PICTURE, np.outer(taps, taps) if separable else taps, up, down, padding)
    found = upfirdn(torch.from_numpy(PICTURE), torch.from_numpy(taps), up=up, down=down, padding=padding, gain=3)
    # Both in float64; sums of 25 products around 1.
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("padding", [Padding(), Padding(2, -1, 0, 3)])
def test_a_single_tap_scales(padding: Padding) -> None:
    found = upfirdn(torch.from_numpy(PICTURE), torch.tensor([2.0], dtype=torch.float64), padding=padding)
    expected = by_definition(PICTURE, np.array([[4.0]]), 1, 1, padding)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=0)


def test_upsampling_by_a_normalised_filter_keeps_a_flat_picture_flat() -> None:
    taps = torch.tensor([1, 3, 3, 1]) / 8
    found = upfirdn(torch.ones(1, 1, 8, 8), taps, up=2, padding=Padding(2, 1, 2, 1), gain=4)
    assert found.shape == (1, 1, 16, 16)
    # Sums of dyadic fractions are exact; the border sees the zeros outside.
    assert torch.equal(found[:, :, 1:-1, 1:-1], torch.ones(1, 1, 14, 14))
    assert found[0, 0, 0, 0] == 0.75**2
