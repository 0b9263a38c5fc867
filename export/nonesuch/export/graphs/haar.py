"""The inverse Haar transform of a wavelet-domain network, in three exact forms.

    out[2i, 2j] = (LL+LH+HL+HH) / 2; [2i, 2j+1] = (LL+LH-HL-HH) / 2; [2i+1, 2j] = (LL-LH+HL-HH) / 2;
    [2i+1, 2j+1] = (LL-LH-HL+HH) / 2

The caller folds the factor 1/2 into an existing factor. The forms need the channels in different orders; `sub_bands`
reorders the weights that produce them, so the graph needs no shuffle.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .fp16_typing import ComputeType
from .graph_builder import GraphBuilder

Wavelet = Literal["butterfly", "conv_transpose", "grouped_conv"]

WAVELETS: tuple[Wavelet, ...] = ("conv_transpose", "butterfly", "grouped_conv")
"""The names of the forms, the best for a CPU first."""

_MIX = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], dtype=np.float32)
"""[pixel 2i + j, band]: the transform of one 2x2 block, without the factor 1/2."""


def pixel_rows(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fold the transform, with its 1/2, into the weights of a linear map directly in front of it.

    Sub-bands [4K, ...] in the checkpoint's order -> pixels [2, 2, K, ...].
    """
    grouped = sub_bands(array, "grouped_conv").reshape(-1, 4, *array.shape[1:])  # [K, band, ...]
    pixels = np.tensordot(_MIX * np.float32(0.5), grouped, axes=(1, 1))  # [pixel, K, ...]
    return np.ascontiguousarray(pixels.reshape(2, 2, *pixels.shape[1:]), dtype=np.float32)


def sub_bands(array: NDArray[np.float32], wavelet: str) -> NDArray[np.float32]:
    """Reorder the leading axis from the checkpoint's order to the wavelet form's.

    The checkpoint has LL of all K channels, then (LH, HL, HH) channel by channel. The butterfly needs the four bands
    contiguous (j*K + c), the grouped forms need them interleaved (c*4 + j).
    """
    bands = array.shape[0] // 4
    low, high = array[:bands, None], array[bands:].reshape(bands, 3, *array.shape[1:])
    grouped = np.concatenate([low, high], axis=1)  # [K, 4, ...]
    if wavelet == "butterfly":
        grouped = grouped.swapaxes(0, 1)
    return np.ascontiguousarray(grouped).reshape(array.shape)


def spread(array: NDArray[np.float32], wavelet: str) -> NDArray[np.float32]:
    """Repeat each row [K, ...] for the four sub-bands of its channel, in `sub_bands` order: [4K, ...].

    The transform is linear and separate for each channel, so a factor of channel c after it equals the same factor of
    c's four sub-bands before it.
    """
    repeated = np.repeat(array[:, None], 4, axis=1)  # [K, 4, ...]
    if wavelet == "butterfly":
        repeated = repeated.swapaxes(0, 1)
    return np.ascontiguousarray(repeated).reshape(4 * len(array), *array.shape[1:])


def inverse_haar(
    graph: GraphBuilder, compute: ComputeType, wavelet: str, scope: str, x: ir.Value, bands: int
) -> ir.Value:
    """Map sub-bands [N, 4K, H, W], already halved, in `sub_bands` order, to [N, K, 2H, 2W] of the compute type."""
    if wavelet == "conv_transpose":
        kernel = np.tile(_MIX.T.reshape(4, 1, 2, 2), (bands, 1, 1, 1))
        weight = compute.constant(f"{scope}.haar", kernel)
        return graph.op("ConvTranspose", [x, weight], f"{scope}/haar", group=bands, strides=[2, 2])
    if wavelet == "grouped_conv":
        weight = compute.constant(f"{scope}.haar", np.tile(_MIX.reshape(4, 4, 1, 1), (bands, 1, 1, 1)))
        mixed = graph.op("Conv", [x, weight], f"{scope}/haar", group=bands)
        return graph.op("DepthToSpace", [mixed], f"{scope}/shuffle", blocksize=2, mode="CRD")
    names = [f"{scope}/{band}" for band in ("ll", "lh", "hl", "hh")]
    sizes = graph.integers(f"{scope}.sizes", [bands] * 4)
    ll, lh, hl, hh = graph.ops("Split", [x, sizes], f"{scope}/split", names, axis=1)
    low_sum = graph.op("Add", [ll, lh], f"{scope}/low_sum")
    low_difference = graph.op("Sub", [ll, lh], f"{scope}/low_difference")
    high_sum = graph.op("Add", [hl, hh], f"{scope}/high_sum")
    high_difference = graph.op("Sub", [hl, hh], f"{scope}/high_difference")
    pixels = [
        graph.op("Add", [low_sum, high_sum], f"{scope}/pixel00"),
        graph.op("Sub", [low_sum, high_sum], f"{scope}/pixel01"),
        graph.op("Add", [low_difference, high_difference], f"{scope}/pixel10"),
        graph.op("Sub", [low_difference, high_difference], f"{scope}/pixel11"),
    ]
    joined = graph.op("Concat", pixels, f"{scope}/concat", axis=1)
    return graph.op("DepthToSpace", [joined], f"{scope}/shuffle", blocksize=2, mode="DCR")
