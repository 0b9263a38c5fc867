"""Up-sampling by 2 with a FIR filter, alone or after a learned convolution; every form is exact up to the border.

Definition: insert a zero after every sample, then convolve with the filter times 2 per axis. With a learned weight w of
3x3, the stretched picture is first convolved with w. Source: Karras et al., arXiv 1912.04958, section 2 and the filter
[1, 3, 3, 1] of appendix B.

Both are one transposed convolution of stride 2, with the kernel K = w * fir or fir, cropped to 2H x 2W. Two forms:

- transposed: ConvTranspose with w, then the filter as a depthwise convolution. (Two, one per axis, are not faster on
  ONNX Runtime's CPU kernels at 64 to 1024 pixels, and round once more in float16.)
- polyphase: an output pixel of phase (a, b) reads only K[.. a + c - 2j ..], so all four phases are one ordinary
  convolution with 4 times the channels, and DepthToSpace interleaves them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError

from .fp16_typing import ComputeType
from .graph_builder import GraphBuilder

FORMS = ("transposed", "polyphase")
"""The names of the forms, the best for a CPU first."""


def polyphase(kernel: NDArray[np.float32], crop: int) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Split the kernel of a transposed convolution of stride 2 into those of its four phases.

    Args:
        kernel: [..., K, K]; full[2i + k] += kernel[k] * x[i] on each axis.
        crop: the number of leading samples that the output omits: y[n] = full[n + crop].

    Returns:
        float32 [..., 2, 2, T, T], so that y[2m + a] = sum_j phases[a, j] * x[m + j - before] on each axis, and the
        padding (before, after) of x that makes both phases as long as x.
    """
    size = kernel.shape[-1]
    # y[2m + a] reads x[m - d] through kernel[a + crop + 2d]; d covers the kernel for both phases.
    first, last = -((1 + crop) // 2), (size - 1 - crop) // 2
    taps = last - first + 1
    phases = np.zeros((*kernel.shape[:-2], 2, 2, taps, taps), dtype=np.float32)
    index = [[a + crop + 2 * (last - j) for j in range(taps)] for a in range(2)]
    for a, row in ((a, j) for a in range(2) for j in range(taps)):
        for b, column in ((b, j) for b in range(2) for j in range(taps)):
            y, x = index[a][row], index[b][column]
            if 0 <= y < size and 0 <= x < size:
                phases[..., a, b, row, column] = kernel[..., y, x]
    return phases, (last, -first)


class Upsampler:
    """Adds the up-sampling of one network to a graph, in one form."""

    def __init__(self, graph: GraphBuilder, form: str, taps: Sequence[float]) -> None:
        """Prepare the filter `taps` of one axis, with sum 1.

        Raises:
            CheckpointError: the filter has fewer than two taps, so it does not interpolate.
        """
        if len(taps) < 2:
            raise CheckpointError(f"the resampling filter {list(taps)} has fewer than two taps, which is not supported")
        self._graph = graph
        self._form = form
        self._taps = 2 * np.asarray(taps, dtype=np.float64)  # the gain of 2 per axis compensates for the zeros
        self._before = (len(taps) + 1) // 2  # padding in front of the first sample for the filter alone

    def convolve(self, scope: str, x: ir.Value, weight: NDArray[np.float32], compute: ComputeType) -> ir.Value:
        """Map [N, I, H, W] to [N, O, 2H, 2W] with a learned weight [O, I, 3, 3], not flipped by the transposition."""
        graph, (outputs, inputs) = self._graph, weight.shape[:2]
        taps, padding = len(self._taps), self._before - 1  # the learned weight needs one sample of the padding
        if self._form == "polyphase":
            kernel = _convolve(weight, np.outer(self._taps, self._taps))
            phases, (before, after) = polyphase(kernel, taps - 1 - padding)
            stacked = phases.transpose(0, 2, 3, 1, 4, 5).reshape(4 * outputs, inputs, *phases.shape[-2:])
            constant = compute.constant(f"{scope}.weight", stacked)
            x = graph.op("Conv", [x, constant], f"{scope}/conv", pads=[before, before, after, after])
            return graph.op("DepthToSpace", [x], f"{scope}/shuffle", blocksize=2, mode="CRD")
        constant = compute.constant(f"{scope}.weight", weight.swapaxes(0, 1))
        x = graph.op("ConvTranspose", [x, constant], f"{scope}/conv_transpose", strides=[2, 2])  # 2H + 1
        after = taps - 2 - padding
        # A convolution flips its kernel and Conv does not.
        flipped = np.outer(self._taps, self._taps)[None, None, ::-1, ::-1]
        constant = compute.constant(f"{scope}.fir", np.tile(flipped, (outputs, 1, 1, 1)))
        return graph.op("Conv", [x, constant], f"{scope}/fir", group=outputs, pads=[padding, padding, after, after])

    def resample(self, scope: str, x: ir.Value, channels: int, compute: ComputeType) -> ir.Value:
        """Map [N, C, H, W] to [N, C, 2H, 2W] with the filter alone."""
        graph, taps = self._graph, len(self._taps)
        crop = taps - 1 - self._before
        kernel = np.tile(np.outer(self._taps, self._taps).astype(np.float32), (channels, 1, 1, 1))  # [C, 1, taps, taps]
        if self._form == "polyphase":
            phases, (before, after) = polyphase(kernel, crop)
            stacked = phases.transpose(0, 2, 3, 1, 4, 5).reshape(4 * channels, 1, *phases.shape[-2:])
            constant = compute.constant(f"{scope}.fir", stacked)
            x = graph.op("Conv", [x, constant], f"{scope}/fir", group=channels, pads=[before, before, after, after])
            return graph.op("DepthToSpace", [x], f"{scope}/shuffle", blocksize=2, mode="CRD")
        constant = compute.constant(f"{scope}.fir", kernel)
        after = taps - 2 - crop  # the full length is 2(H - 1) + taps
        pads = [crop, crop, after, after]
        return graph.op("ConvTranspose", [x, constant], f"{scope}/fir", group=channels, strides=[2, 2], pads=pads)


def _convolve(weight: NDArray[np.float32], fir: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the full convolution of each [3, 3] of a weight [O, I, 3, 3] with one filter [taps, taps]."""
    side, taps = weight.shape[-1], len(fir)
    kernel = np.zeros((*weight.shape[:2], side + taps - 1, side + taps - 1), dtype=np.float32)
    for y in range(taps):
        for x in range(taps):
            kernel[..., y : y + side, x : x + side] += weight * np.float32(fir[y, x])
    return kernel
