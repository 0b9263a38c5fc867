"""The layers of StyleGAN3's synthesis network.

Source: Karras et al., arXiv 2106.12423, section 3 and appendices D to F. Shapes: N batch, I and O input and output
channels, S samples per side. Every tensor is float32.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from nonesuch.engine.errors import CheckpointError

from ..checkpoint import Checkpoint
from .mapping import Linear
from .modulated_conv import ModulatedConv
from .parameters import parameter
from .resampling import upfirdn
from .stylegan3_config import StyleGAN3Config

_RELU_SLOPE = 0.2


class FourierInput(nn.Module):
    """Sine waves on a square, rotated and shifted by w and by the caller; then a 1x1 convolution: [N, C, S, S].

    Frequencies are in periods per unit of length; the picture's side is 1, and its centre is the origin.
    """

    grid: Tensor

    def __init__(self, checkpoint: Checkpoint, config: StyleGAN3Config) -> None:
        super().__init__()
        name, shape = "synthesis.input", config.input
        self.bandwidth, self.nyquist = shape.bandwidth, shape.sampling_rate / 2
        self.affine = Linear(checkpoint, f"{name}.affine", 4, config.w_dim)
        self.weight = parameter(checkpoint, f"{name}.weight", shape.channels, shape.channels)
        self.transform = parameter(checkpoint, f"{name}.transform", 3, 3)
        self.freqs = parameter(checkpoint, f"{name}.freqs", shape.channels, 2)
        self.phases = parameter(checkpoint, f"{name}.phases", shape.channels)
        # Positions of the samples on each axis, including the margin around the picture.
        positions = (torch.arange(shape.size, dtype=torch.float64) + 0.5 - shape.size / 2) / shape.sampling_rate
        self.register_buffer("grid", positions.to(torch.float32), persistent=False)

    def forward(self, w: Tensor, transform: Tensor | None) -> Tensor:
        """Map w [N, w_dim] and transform [N, 3, 3] (the checkpoint's own if None) to [N, C, S, S]."""
        matrix = self._style_transform(w) @ (self.transform if transform is None else transform)
        # A wave of frequency f at the point M p is a wave of frequency M' f at p; its phase moves by f . shift.
        freqs = self.freqs @ matrix[:, :2, :2]  # [N, C, 2]
        phases = self.phases + (self.freqs @ matrix[:, :2, 2:])[..., 0]  # [N, C]
        # Scaled waves may exceed the Nyquist frequency, and fade out towards it.
        length = freqs.square().sum(dim=2).sqrt()
        amplitudes = (1 - (length - self.bandwidth) / (self.nyquist - self.bandwidth)).clamp(0, 1)
        along_x = self.grid * freqs[:, :, 0, None]  # [N, C, S]
        along_y = self.grid * freqs[:, :, 1, None]
        angles = along_x[:, :, None, :] + along_y[:, :, :, None] + phases[:, :, None, None]
        waves = torch.sin(2 * math.pi * angles) * amplitudes[:, :, None, None]
        return functional.conv2d(waves, self.weight[:, :, None, None])

    def _style_transform(self, w: Tensor) -> Tensor:
        """Return the shift by w's vector followed by the rotation by w's angle, [N, 3, 3] (appendix F)."""
        t = self.affine(w)
        t = t / t[:, :2].square().sum(dim=1, keepdim=True).sqrt()
        cosine, sine, x, y = t.unbind(dim=1)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        rotation = torch.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one], dim=1)
        shift = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], dim=1)
        return rotation.reshape(-1, 3, 3) @ shift.reshape(-1, 3, 3)


class Layer(nn.Module):
    """A modulated convolution and an alias-free leaky ReLU: x [N, I, S, S] to [N, O, S', S'].

    The non-linearity runs at a higher sampling rate: the signal is up-sampled before it, then filtered and down-sampled
    to the layer's own rate (figure 4b). The last layer makes the picture and has no non-linearity.
    """

    up_filter: Tensor
    down_filter: Tensor

    def __init__(self, checkpoint: Checkpoint, config: StyleGAN3Config, index: int) -> None:
        super().__init__()
        name, shape = f"synthesis.L{index}", config.layers[index]
        self.shape, self.clamp = shape, config.conv_clamp
        self.affine = Linear(checkpoint, f"{name}.affine", shape.in_channels, config.w_dim)
        weight = parameter(
            checkpoint, f"{name}.weight", shape.out_channels, shape.in_channels, shape.kernel, shape.kernel
        )
        if not shape.is_torgb:
            # Keeps the products near 1, well above demodulation's epsilon.
            weight.mul_(torch.rsqrt(weight.square().mean(dim=(1, 2, 3), keepdim=True)))
        gain = float(parameter(checkpoint, f"{name}.magnitude_ema").rsqrt())
        self.conv = ModulatedConv(
            weight, padding=shape.kernel - 1, demodulate=not shape.is_torgb, gain=gain, form=config.form
        )
        self.bias = parameter(checkpoint, f"{name}.bias", shape.out_channels)
        self.register_buffer("up_filter", _filter(checkpoint, f"{name}.up_filter"), persistent=False)
        self.register_buffer("down_filter", _filter(checkpoint, f"{name}.down_filter"), persistent=False)
        shape.check_filters(index, len(self.up_filter), len(self.down_filter))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map x [N, I, S, S] and w [N, w_dim] to [N, O, S', S']."""
        styles = self.affine(w)
        if not self.shape.is_torgb:
            styles = styles * torch.rsqrt(styles.square().mean(dim=1, keepdim=True))
        x = self.conv(x, styles) + self.bias[:, None, None]
        x = upfirdn(x, self.up_filter, up=self.shape.up, padding=self.shape.padding, gain=self.shape.up**2)
        if not self.shape.is_torgb:
            x = functional.leaky_relu(x, _RELU_SLOPE) * math.sqrt(2)
        if self.clamp is not None:
            x = x.clamp(-self.clamp, self.clamp)
        return upfirdn(x, self.down_filter, down=self.shape.down)


def _filter(checkpoint: Checkpoint, name: str) -> Tensor:
    """Return the filter with this name, [T] or [T, T]; a single tap if the checkpoint does not have it."""
    array = checkpoint.tensors.get(name)
    if array is None:
        return torch.ones(1)
    if array.ndim not in (1, 2) or len(set(array.shape)) != 1 or not array.size:
        raise CheckpointError(f"tensor {name!r} has shape {array.shape}, expected [taps] or [taps, taps]")
    return torch.tensor(array)
