"""Converts the FIR filter of up-sampling to 1-D taps from the 2-D form that most ports store."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError

DEFAULT_TAPS = [0.125, 0.375, 0.375, 0.125]  # [1, 3, 3, 1] / 8, of arXiv 1912.04958
_MAX_TAPS = 32


def filter_taps(kernel: NDArray[np.float32], gain: float, what: str) -> list[float]:
    """Return the taps of a separable filter.

    Args:
        kernel: [taps] or [taps, taps], with sum `gain` or `gain` squared.
        gain: the port's factor on each axis (2 if it compensates for the zeros of up-sampling).
        what: the file and the tensor, for errors.

    Returns:
        Taps with sum 1.

    Raises:
        CheckpointError: it is not separable, not symmetric, or its sum is wrong.
    """
    if kernel.ndim not in (1, 2) or kernel.shape != kernel.shape[:1] * kernel.ndim or len(kernel) > _MAX_TAPS:
        raise CheckpointError(f"{what} has shape {kernel.shape}; a filter has at most {_MAX_TAPS} taps per axis")
    if kernel.ndim == 2:
        taps = kernel.sum(axis=1, dtype=np.float64) / gain**2
        separable = bool(np.allclose(np.outer(taps, taps) * gain**2, kernel, atol=1e-6))
    else:
        taps, separable = kernel.astype(np.float64) / gain, True
    if not separable:
        raise CheckpointError(f"{what} is not a separable filter of gain {gain:g} per axis")
    # For a symmetric filter convolution equals correlation, so it does not matter which one a port computes.
    if not np.isclose(taps.sum(), 1, atol=1e-5) or not np.allclose(taps, taps[::-1], atol=1e-6):
        raise CheckpointError(f"{what} is not a symmetric filter of gain {gain:g}")
    return [float(tap) for tap in taps]
