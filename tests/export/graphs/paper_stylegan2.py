"""StyleGAN2 as defined in the paper, in float64 NumPy: weights modulated for each sample, zeros inserted explicitly.

It is slow, and shares only the tensor names with the graph builder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from nonesuch.export.checkpoint import Checkpoint

Array = NDArray[np.float64]


def insert_zeros(x: Array) -> Array:
    """Map [C, H, W] to [C, 2H, 2W] with a zero after every sample."""
    out = np.zeros((x.shape[0], 2 * x.shape[1], 2 * x.shape[2]))
    out[:, ::2, ::2] = x
    return out


def correlate(x: Array, weight: Array, before: int, after: int) -> Array:
    """Correlate [I, H, W] with [O, I, k, k], with `before` and `after` zeros on each axis."""
    windows = sliding_window_view(np.pad(x, [(0, 0), (before, after), (before, after)]), weight.shape[2:], axis=(1, 2))
    out: Array = np.einsum("ihwyx,oiyx->ohw", windows, weight)
    return out


def filtered(x: Array, taps: Array, before: int, after: int) -> Array:
    """Convolve every channel with the filter of both axes, times 4; convolution flips the filter."""
    kernel = 4 * np.outer(taps, taps)[None, None, ::-1, ::-1]
    return np.concatenate([correlate(channel[None], kernel, before, after) for channel in x])


def upsample(x: Array, taps: Array) -> Array:
    return filtered(insert_zeros(x), taps, (len(taps) + 1) // 2, (len(taps) - 2) // 2)


def upsampling_convolution(x: Array, weight: Array, taps: Array) -> Array:
    """Apply the transposed convolution of stride 2, to 2H + 1 samples, then the filter."""
    full = correlate(insert_zeros(x)[:, :-1, :-1], weight[:, :, ::-1, ::-1], 2, 2)
    return filtered(full, taps, (len(taps) + 1) // 2 - 1, (len(taps) - 2) // 2)


def picture(checkpoint: Checkpoint, ws: NDArray[np.float32], noise: Mapping[str, NDArray[Any]] | None = None) -> Array:
    """Map ws [N, num_ws, w_dim] to [N, C, R, R]; `noise` by layer, [N, 1, r, r], replaces the constant noise."""
    return np.stack([_sample(checkpoint, row, n, noise) for n, row in enumerate(ws.astype(np.float64))])


def _sample(checkpoint: Checkpoint, ws: Array, n: int, noise: Mapping[str, NDArray[Any]] | None) -> Array:
    config, clamp = checkpoint.config, checkpoint.config["conv_clamp"] or np.inf
    taps = np.array(config["resample_filter"])
    indices = iter(range(len(ws)))

    def tensor(name: str) -> Array:
        return checkpoint.tensors[f"synthesis.{name}"].astype(np.float64)

    def modulated(scope: str, index: int) -> Array:
        style = tensor(f"{scope}.affine.weight") @ ws[index] + tensor(f"{scope}.affine.bias")
        weight: Array = tensor(f"{scope}.weight") * style[None, :, None, None]
        return weight

    def layer(scope: str, x: Array, gain: float = 1.0) -> Array:
        weight = modulated(scope, next(indices))
        weight = weight / np.sqrt(np.sum(weight**2, axis=(1, 2, 3), keepdims=True) + 1e-8)
        x = upsampling_convolution(x, weight, taps) if scope.endswith("conv0") else correlate(x, weight, 1, 1)
        image = tensor(f"{scope}.noise_const") if noise is None else noise[scope][n, 0]
        x = x + image * tensor(f"{scope}.noise_strength") + tensor(f"{scope}.bias")[:, None, None]
        x = np.where(x < 0, 0.2 * x, x) * np.sqrt(2)
        clamped: Array = np.clip(x, -clamp, clamp) * gain
        return clamped

    rgb, x, residual = np.zeros(()), tensor("input")[0], config["architecture"] == "resnet"
    for block in range(len(config["channels"])):
        scope = f"b{4 << block}"
        if block == 0:
            x = layer(f"{scope}.conv1", x)
        else:
            skip = x
            x = layer(f"{scope}.conv1", layer(f"{scope}.conv0", x), np.sqrt(0.5) if residual else 1.0)
            if residual:
                x = x + upsample(correlate(skip, tensor(f"{scope}.skip.weight"), 0, 0), taps) * np.sqrt(0.5)
        last = block == len(config["channels"]) - 1
        if config["architecture"] == "skip" or last:
            # The head reads the next index and leaves it to the next block's conv0.
            head = correlate(x, modulated(f"{scope}.torgb", 2 * block + 1), 0, 0)
            head = np.clip(head + tensor(f"{scope}.torgb.bias")[:, None, None], -clamp, clamp)
            rgb = head + (upsample(rgb, taps) if rgb.ndim else 0)
    return rgb
