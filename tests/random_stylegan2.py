"""StyleGAN2 of a realistic size with random weights, for tests, and for measurements without a checkpoint.

python tests/random_stylegan2.py 256 OUT   (an artifact with the up-sampling forms transposed and winograd)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.home import Home
from nonesuch.engine.manifest import WeightsSource
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.exporter import export_checkpoint
from nonesuch.export.graphs.synthesis_builder import VariantOptions

SOURCE = WeightsSource(name="random numbers", licence="none needed", sha256="0" * 64)


class Randoms:
    """Tensors with statistics that keep activations of order 1, as trained networks have them."""

    def __init__(self, w_dim: int) -> None:
        self.random = np.random.RandomState(0)
        self.w_dim = w_dim
        self.tensors: dict[str, NDArray[np.float32]] = {}

    def normal(self, name: str, *shape: int, scale: float = 1.0, mean: float = 0.0) -> None:
        self.tensors[name] = np.asarray(mean + scale * self.random.standard_normal(shape), dtype=np.float32)

    def mapping(self, z_dim: int, layers: int) -> None:
        for index in range(layers):
            fan_in = self.w_dim if index else z_dim
            self.normal(f"mapping.fc{index}.weight", self.w_dim, fan_in, scale=fan_in**-0.5)
            self.normal(f"mapping.fc{index}.bias", self.w_dim, scale=0.1)

    def affine(self, name: str, channels: int, mean: float = 1.0) -> None:
        self.normal(f"{name}.affine.weight", channels, self.w_dim, scale=0.3 * self.w_dim**-0.5 * mean)
        self.normal(f"{name}.affine.bias", channels, scale=0.1 * mean, mean=mean)

    def conv(self, name: str, outputs: int, inputs: int, kernel: int, *, mean: float = 1.0) -> None:
        self.normal(f"{name}.weight", outputs, inputs, kernel, kernel)
        self.normal(f"{name}.bias", outputs, scale=0.1)
        self.affine(name, inputs, mean)


def stylegan2(resolution: int, channel_base: int = 32768) -> Checkpoint:
    """At most 512 channels, 8 mapping layers; config F has the channel base 32768, the paper256 configuration half."""
    sizes = [4 << step for step in range(resolution.bit_length() - 2)]
    channels = [min(channel_base // size, 512) for size in sizes]
    made = Randoms(512)
    made.mapping(512, 8)
    made.normal("synthesis.input", 1, channels[0], 4, 4)
    for size, outputs, inputs in zip(sizes, channels, [0, *channels], strict=False):
        for name, fan_in in (("conv0", inputs), ("conv1", outputs)):
            if not fan_in:
                continue
            scope = f"synthesis.b{size}.{name}"
            made.conv(scope, outputs, fan_in, 3)
            made.normal(f"{scope}.noise_const", size, size)
            made.normal(f"{scope}.noise_strength", scale=0.1)
        scope = f"synthesis.b{size}.torgb"
        made.normal(f"{scope}.weight", 3, outputs, 1, 1)
        made.normal(f"{scope}.bias", 3, scale=0.1)
        made.affine(scope, outputs, 0.2 * outputs**-0.5)
    config = {
        "family": "stylegan2",
        "z_dim": 512,
        "c_dim": 0,
        "w_dim": 512,
        "mapping_layers": 8,
        "resolution": resolution,
        "img_channels": 3,
        "architecture": "skip",
        "conv_clamp": 256.0,
        "resample_filter": [0.125, 0.375, 0.375, 0.125],
        "channels": channels,
        "num_ws": 2 * len(sizes),
        "source_format": "random",
    }
    return Checkpoint(config=config, tensors=made.tensors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("resolution", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--channel-base", type=int, default=16384)
    asked = parser.parse_args()
    checkpoint = stylegan2(asked.resolution, asked.channel_base)
    checkpoint.save(Checkpoint.folder(Home.default(), checkpoint.model_id))  # for the PyTorch subjects
    forms = [VariantOptions(upsampling="transposed"), VariantOptions(upsampling="winograd")]
    artifact = export_checkpoint(
        checkpoint, asked.out, name=f"stylegan2-{asked.resolution}", source=SOURCE, variants=forms
    )
    print(artifact.manifest.checked)


if __name__ == "__main__":
    main()
