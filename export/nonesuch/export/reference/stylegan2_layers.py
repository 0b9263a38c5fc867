"""The layers and blocks of StyleGAN2's synthesis network.

Source: Karras et al., arXiv 1912.04958, figures 2d and 7; the clamp is from arXiv 2006.06676, appendix, and applies
in float32 too. Shapes: N batch, I and O input and output channels, R rows and columns. Every tensor is float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..checkpoint import Checkpoint
from .mapping import Linear
from .modulated_conv import ModulatedConv
from .parameters import parameter
from .resampling import Padding, upfirdn
from .stylegan2_config import StyleGAN2Config

NoiseMode = Literal["const", "none", "random"]

_RELU_SLOPE = 0.2
_RESIDUAL_GAIN = math.sqrt(0.5)  # of both branches, so that their sum keeps its variance


@dataclass(frozen=True)
class Noise:
    """The source of the noise of one picture.

    Attributes:
        given: [N, 1, R, R] (or [1, 1, R, R] for all) by layer, "b8.conv0"; before the layer's strength.
        mode: for layers not in `given`: the checkpoint's own noise, none, or new noise.
    """

    given: Mapping[str, Tensor] = field(default_factory=dict)
    mode: NoiseMode = "const"


def upsample(x: Tensor, fir: Tensor) -> Tensor:
    """Map x [N, C, R, R] to [N, C, 2R, 2R], with fir [T, T]; if T is 4, output 2i lies between inputs i - 1 and i."""
    before, after = (len(fir) + 1) // 2, len(fir) // 2 - 1
    return upfirdn(x, fir, up=2, padding=Padding(before, after, before, after), gain=4)


def _fir(taps: tuple[float, ...]) -> Tensor:
    # One pass of 16 taps touches memory half as often as two of 4.
    return torch.outer(torch.tensor(taps), torch.tensor(taps))


class StyledConv(nn.Module):
    """A modulated 3x3 convolution, noise, bias, leaky ReLU and clamp: x [N, I, R', R'] to [N, O, R, R].

    With `up`, R' is R / 2. `gain` multiplies the output and the clamp.
    """

    fir: Tensor

    def __init__(
        self,
        checkpoint: Checkpoint,
        name: str,
        config: StyleGAN2Config,
        channels: tuple[int, int],
        size: int,
        *,
        up: bool,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        inputs, outputs = channels
        self.name, self.size, self.up = name.removeprefix("synthesis."), size, up
        self.gain = gain * math.sqrt(2)
        self.clamp = None if config.conv_clamp is None else config.conv_clamp * gain
        self.affine = Linear(checkpoint, f"{name}.affine", inputs, config.w_dim)
        weight = parameter(checkpoint, f"{name}.weight", outputs, inputs, 3, 3)
        self.conv = ModulatedConv(weight, padding=1, up=up, form=config.form)
        self.bias = parameter(checkpoint, f"{name}.bias", outputs)
        self.noise_const = parameter(checkpoint, f"{name}.noise_const", size, size)
        self.noise_strength = parameter(checkpoint, f"{name}.noise_strength")
        self.register_buffer("fir", _fir(config.taps), persistent=False)

    def forward(self, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
        """Map x [N, I, R', R'] and w [N, w_dim] to [N, O, R, R]."""
        x = self.conv(x, self.affine(w))
        if self.up:
            # The transposed convolution returned 2R' + 1 samples, already stretched: only the filter is missing.
            before, after = (len(self.fir) + 1) // 2 - 1, len(self.fir) // 2 - 1
            x = upfirdn(x, self.fir, padding=Padding(before, after, before, after), gain=4)
        if (added := self._noise(len(x), noise)) is not None:
            x = x + added * self.noise_strength
        x = functional.leaky_relu(x + self.bias[:, None, None], _RELU_SLOPE) * self.gain
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)

    def _noise(self, n: int, noise: Noise) -> Tensor | None:
        if self.name in noise.given:
            return noise.given[self.name]
        if noise.mode == "random":
            return torch.randn(n, 1, self.size, self.size, device=self.bias.device)
        return self.noise_const if noise.mode == "const" else None


class ToRGB(nn.Module):
    """A modulated 1x1 convolution without demodulation, bias and clamp: x [N, I, R, R] to [N, img_channels, R, R]."""

    def __init__(self, checkpoint: Checkpoint, name: str, config: StyleGAN2Config, channels: int) -> None:
        super().__init__()
        self.clamp = config.conv_clamp
        self.affine = Linear(checkpoint, f"{name}.affine", channels, config.w_dim)
        weight = parameter(checkpoint, f"{name}.weight", config.img_channels, channels, 1, 1)
        self.conv = ModulatedConv(weight, demodulate=False, form=config.form)
        self.bias = parameter(checkpoint, f"{name}.bias", config.img_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map x [N, I, R, R] and w [N, w_dim] to [N, img_channels, R, R]."""
        x = self.conv(x, self.affine(w)) + self.bias[:, None, None]
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Block(nn.Module):
    """All layers of one size R: x [N, I, R/2, R/2] to [N, O, R, R]. The first, 4x4, has no conv0."""

    fir: Tensor

    def __init__(self, checkpoint: Checkpoint, config: StyleGAN2Config, index: int) -> None:
        super().__init__()
        size = 4 << index
        name = f"synthesis.b{size}"
        inputs, outputs = config.channels[max(index - 1, 0)], config.channels[index]
        residual = config.architecture == "resnet" and index > 0
        # The RGB head reads the w of the next block's conv0.
        self.first_ws = max(2 * index - 1, 0)
        self.conv0: StyledConv | None = None
        if index:
            self.conv0 = StyledConv(checkpoint, f"{name}.conv0", config, (inputs, outputs), size, up=True)
        gain = _RESIDUAL_GAIN if residual else 1.0
        self.conv1 = StyledConv(checkpoint, f"{name}.conv1", config, (outputs, outputs), size, up=False, gain=gain)
        self.skip = parameter(checkpoint, f"{name}.skip.weight", outputs, inputs, 1, 1) if residual else None
        self.torgb = ToRGB(checkpoint, f"{name}.torgb", config, outputs) if config.has_rgb(size) else None
        self.register_buffer("fir", _fir(config.taps), persistent=False)

    def forward(self, x: Tensor, image: Tensor | None, ws: Tensor, noise: Noise) -> tuple[Tensor, Tensor | None]:
        """Return the features and the picture after this block.

        Args:
            x: [N, I, R/2, R/2]; for the first block [N, O, 4, 4].
            image: [N, img_channels, R/2, R/2], or None if no earlier block has made one.
            ws: [N, num_ws, w_dim].
            noise: of all layers.
        """
        index = self.first_ws
        residual = None if self.skip is None else upsample(functional.conv2d(x, self.skip), self.fir) * _RESIDUAL_GAIN
        if self.conv0 is not None:
            x = self.conv0(x, ws[:, index], noise)
            index += 1
        x = self.conv1(x, ws[:, index], noise)
        if residual is not None:
            x = x + residual
        if image is not None:
            image = upsample(image, self.fir)
        if self.torgb is not None:
            rgb: Tensor = self.torgb(x, ws[:, index + 1])
            image = rgb if image is None else image + rgb
        return x, image
