"""Whether two subjects show the same picture; nothing is timed before that is known.

Float32 runtimes sum in different orders, which moves a grey level now and then by one, rarely by two: PSNR stays above
50 dB. Reduced precision is another picture by design, and may differ more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.psnr import psnr_db

MAX_DIFFERENCE, MIN_PSNR_DB, MIN_REDUCED_PSNR_DB = 2, 50.0, 30.0


@dataclass(frozen=True)
class Agreement:
    """How far two pictures are apart: the largest difference, of 255, and PSNR, dB (infinite where they are equal)."""

    max_difference: int
    psnr_db: float

    @classmethod
    def of(cls, found: NDArray[np.uint8], expected: NDArray[np.uint8]) -> Agreement:
        """Compare two arrays of pictures, uint8 [..., H, W, C]; another shape counts as nothing in common."""
        if found.shape != expected.shape:
            return cls(255, 0.0)
        max_difference = int(np.abs(found.astype(np.int16) - expected.astype(np.int16)).max(initial=0))
        return cls(max_difference, psnr_db(found, expected))

    def problem(self, *, reduced_precision: bool = False) -> str:
        """Why these are not the same picture; empty if they are."""
        if reduced_precision:
            same, allowed = self.psnr_db >= MIN_REDUCED_PSNR_DB, f"{MIN_REDUCED_PSNR_DB:g} dB"
        else:
            same = self.max_difference <= MAX_DIFFERENCE and self.psnr_db >= MIN_PSNR_DB
            allowed = f"{MAX_DIFFERENCE} of 255 and {MIN_PSNR_DB:g} dB"
        if same:
            return ""
        return (
            f"it shows another picture: off by {self.max_difference} of 255, PSNR {self.psnr_db:.1f} dB, "
            f"where {allowed} is allowed; it was not timed"
        )
