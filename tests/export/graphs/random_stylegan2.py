"""Random StyleGAN2 checkpoints of any shape, in which every tensor affects the picture."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nonesuch.export.checkpoint import Checkpoint


def random_stylegan2(
    *,
    channels: Sequence[int] = (12, 8, 6),
    architecture: str = "skip",
    img_channels: int = 3,
    w_dim: int = 10,
    middle: int | None = None,
    constant: int | None = None,
    conv_clamp: float | None = None,
    taps: Sequence[float] = (0.125, 0.375, 0.375, 0.125),
    seed: int = 0,
) -> Checkpoint:
    """Return a network of `len(channels)` blocks from 4x4; `middle` is the width between the layers of a block."""
    random = np.random.RandomState(seed)
    tensors: dict[str, NDArray[np.float32]] = {}

    def normal(name: str, *shape: int, scale: float = 1.0, mean: float = 0.0) -> None:
        tensors[f"synthesis.{name}"] = np.asarray(mean + scale * random.randn(*shape), dtype=np.float32)

    def layer(scope: str, inputs: int, outputs: int, size: int) -> None:
        normal(f"{scope}.weight", outputs, inputs, 3, 3)
        normal(f"{scope}.bias", outputs, scale=0.2)
        normal(f"{scope}.affine.weight", inputs, w_dim, scale=0.4 * w_dim**-0.5)
        normal(f"{scope}.affine.bias", inputs, scale=0.1, mean=1.0)
        normal(f"{scope}.noise_const", size, size)
        normal(f"{scope}.noise_strength", scale=0.1, mean=0.2)

    normal("input", 1, constant or channels[0], 4, 4)
    layer("b4.conv1", constant or channels[0], channels[0], 4)
    resolution = 4 << (len(channels) - 1)
    for index, (inputs, outputs) in enumerate(itertools.pairwise(channels)):
        size = 8 << index
        layer(f"b{size}.conv0", inputs, middle or outputs, size)
        layer(f"b{size}.conv1", middle or outputs, outputs, size)
        if architecture == "resnet":
            normal(f"b{size}.skip.weight", outputs, inputs, 1, 1, scale=inputs**-0.5)
    for index, inputs in enumerate(channels):
        size = 4 << index
        if architecture == "skip" or size == resolution:
            scope = f"b{size}.torgb"
            normal(f"{scope}.weight", img_channels, inputs, 1, 1)
            normal(f"{scope}.bias", img_channels, scale=0.2)
            normal(f"{scope}.affine.weight", inputs, w_dim, scale=0.4 * (w_dim * inputs) ** -0.5)
            normal(f"{scope}.affine.bias", inputs, scale=0.1 * inputs**-0.5, mean=0.5 * inputs**-0.5)
    config: dict[str, Any] = {
        "family": "stylegan2",
        "z_dim": 8,
        "c_dim": 0,
        "w_dim": w_dim,
        "mapping_layers": 2,
        "resolution": resolution,
        "img_channels": img_channels,
        "architecture": architecture,
        "conv_clamp": conv_clamp,
        "resample_filter": list(taps),
        "channels": list(channels),
        "num_ws": 2 * len(channels),
        "source_format": "random numbers",
    }
    return Checkpoint(config=config, tensors=tensors)
