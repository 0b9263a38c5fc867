"""Up-sampling by an integer, and down-sampling by another after a nonlinearity: sizes, padding and polyphase kernels.

    x [size] -> up-1 zeros after each sample -> padding -> FIR -> middle [middle_size] -> FIR, stride -> [output_size]

The same applies to rows and columns. Source: Karras et al., arXiv 2106.12423, section 3.2 and appendix D. The polyphase
identity is textbook: an output of phase `a` reads only the taps that meet samples, never those that meet zeros.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Resampling:
    """The resampling of one layer; the filters are for convolution, so a correlation flips them.

    Attributes:
        up: factor.
        down: factor.
        up_filter: float64 [taps], of one axis, without the gain that compensates for the zeros; `up_phases` adds it.
        down_filter: float64 [taps] of one axis, or [taps, taps] if the filter is not separable.
        padding: samples added before and after the stretched signal; negative values crop.
    """

    up: int
    down: int
    up_filter: NDArray[np.float64]
    down_filter: NDArray[np.float64]
    padding: tuple[int, int]

    def middle_size(self, size: int) -> int:
        """Return the number of samples at the nonlinearity for `size` input samples."""
        return size * self.up + sum(self.padding) - len(self.up_filter) + 1

    def output_size(self, size: int) -> int:
        """Return the number of output samples for `size` input samples."""
        return (self.middle_size(size) - len(self.down_filter)) // self.down + 1

    def trim(self, size: int) -> tuple[Resampling, int, int]:
        """Replace negative padding by omitting input samples that nothing reads.

        Returns:
            The resampling of the remaining samples, whose leading padding is at least 0, and their (start, stop).
        """
        before, after = self.padding
        start = max(0, -(before // self.up))
        last = (self.middle_size(size) + len(self.up_filter) - 2 - before) // self.up
        unread = max(0, size - 1 - last)
        padding = (before + self.up * start, after + self.up * unread)
        return dataclasses.replace(self, padding=padding), start, size - unread

    def up_phases(self) -> tuple[NDArray[np.float64], int, int]:
        """Return the kernels of the `up` phases, with the gain `up`.

        Returns:
            float64 [up, taps], first, last: middle[up * q + a] = sum_j kernels[a, j] * x[q + first + j], where the last
            j reads x[q + last].
        """
        before, taps = self.padding[0], len(self.up_filter)
        first, last = -(before // self.up), (self.up + taps - 2 - before) // self.up
        flipped = self.up_filter[::-1] * self.up
        kernels = np.zeros((self.up, last - first + 1))
        for phase in range(self.up):
            for j in range(kernels.shape[1]):
                tap = self.up * (first + j) + before - phase
                if 0 <= tap < taps:
                    kernels[phase, j] = flipped[tap]
        return kernels, first, last

    def down_phases(self) -> NDArray[np.float64]:
        """Return the part of the down-sampling filter that reads each phase of the middle.

        Returns:
            float64 [down, taps], so that output[o] = sum_a,j kernels[a, j] * middle[down * (o + j) + a]; for a filter
            that is not separable [down, down, taps, taps], rows first.
        """
        filter_, down = self.down_filter, self.down
        padding = -len(filter_) % down
        flipped = np.pad(np.flip(filter_), [(0, padding)] * filter_.ndim)
        if filter_.ndim == 1:
            return flipped.reshape(-1, down).T
        taps = len(flipped) // down
        return flipped.reshape(taps, down, taps, down).transpose(1, 3, 0, 2)
