"""The difference between two pictures, as PSNR."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def psnr_db(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of two 8-bit image arrays, in dB; infinite for equal arrays."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))
