"""Up-sampling, FIR filter, down-sampling: the resampling step of StyleGAN2 and StyleGAN3, in plain PyTorch.

By definition a picture is stretched by inserting zeros after every sample, padded or cropped, convolved with the filter
and decimated (Karras et al., arXiv 1912.04958, appendix B; arXiv 2106.12423, section 3). To avoid multiplying zeros,
up-sampling runs as a depthwise transposed convolution, and down-sampling as a depthwise strided convolution.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional


class Padding(NamedTuple):
    """Zeros around the stretched picture, in samples; negative values crop."""

    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0


_NO_PADDING = Padding()


def upfirdn(
    x: Tensor, taps: Tensor, *, up: int = 1, down: int = 1, padding: Padding = _NO_PADDING, gain: float = 1.0
) -> Tensor:
    """Resample every channel of x [N, C, H, W] by up / down.

    Args:
        x: float32 [N, C, H, W].
        taps: the impulse response, [T] for both axes in turn or [T, T].
        up: the stretched picture is up * H by up * W; its last up - 1 rows and columns are zero.
        down: keeps every down-th sample, starting with the first.
        padding: around the stretched picture, before the filter.
        gain: multiplies the filter; up^2 keeps the brightness.

    Returns:
        float32 [N, C, H', W'], H' = ceil((up * H + top + bottom - T + 1) / down).
    """
    if taps.ndim == 2:
        return _pass(x, taps * gain, (up, up), (down, down), padding)
    taps = taps * math.sqrt(gain)
    x = _pass(x, taps[None, :], (1, up), (1, down), Padding(padding.left, padding.right, 0, 0))
    return _pass(x, taps[:, None], (up, 1), (down, 1), Padding(0, 0, padding.top, padding.bottom))


def _pass(x: Tensor, taps: Tensor, up: tuple[int, int], down: tuple[int, int], padding: Padding) -> Tensor:
    """Run one pass with taps [T, S]; up and down by axis, rows first."""
    channels = x.shape[1]
    left, right, top, bottom = padding
    if taps.shape == up == down == (1, 1) and not any(padding):
        return x * taps
    if up == (1, 1):
        # PyTorch's convolution correlates, hence the flip.
        kernel = taps.flip(0, 1).expand(channels, 1, -1, -1)
        pad_y, pad_x = max(0, min(top, bottom)), max(0, min(left, right))
        x = _pad(x, (left - pad_x, right - pad_x, top - pad_y, bottom - pad_y))
        return functional.conv2d(x, kernel, stride=down, padding=(pad_y, pad_x), groups=channels)
    # The transposed convolution returns the full response: T - 1 more samples at the start than a filter inside the
    # stretched picture, and T - up more at the end, because no zeros follow the last sample.
    rows, columns = taps.shape
    left, right = left - (columns - 1), right - (columns - up[1])
    top, bottom = top - (rows - 1), bottom - (rows - up[0])
    crop_y, crop_x = max(0, min(-top, -bottom)), max(0, min(-left, -right))
    kernel = taps.expand(channels, 1, -1, -1)
    x = functional.conv_transpose2d(x, kernel, stride=up, padding=(crop_y, crop_x), groups=channels)
    x = _pad(x, (left + crop_x, right + crop_x, top + crop_y, bottom + crop_y))
    return x[:, :, :: down[0], :: down[1]]


def _pad(x: Tensor, amounts: tuple[int, int, int, int]) -> Tensor:
    return functional.pad(x, amounts) if any(amounts) else x
