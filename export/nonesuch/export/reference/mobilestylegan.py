"""MobileStyleGAN in eager PyTorch: the oracle for exported graphs, and the baseline for timings.

Network: Belousov, "MobileStyleGAN: A Lightweight Convolutional Neural Network for High-Fidelity Image Synthesis",
arXiv 2104.04767. The picture grows in the wavelet domain: each block joins four Haar sub-bands into twice the size,
then convolves. A last inverse transform turns the 12 channels of `to_img` into RGB.

The checkpoint's weights already include all gains: style scales in the affines, demodulation (which does not depend on
the style here) in `pointwise` and `conv1.weight`, the learning-rate multiplier in the mapping.

The inverse transform has two forms, which give the same picture up to rounding:

- grouped: a shuffle of the checkpoint's channel order, then a transposed convolution with one group per channel.
- inference: a pointwise convolution with one group per channel, then a pixel shuffle. The preceding layers output
  their channels in the required order. This is faster in eager PyTorch, especially with channels last.

Every tensor is float32. Shapes: N batch, C channels, R rows and columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from nonesuch.engine.errors import CheckpointError

from ..checkpoint import Checkpoint
from .mapping import Linear, MappingNetwork
from .modulated_conv import Form
from .parameters import parameter, positive, require_family

_FAMILY = "mobilestylegan"
_IMG_CHANNELS = 3
_SUB_BANDS = 4
_RELU_SLOPE = 0.2


class Modulation(nn.Module):
    """Scales each channel of x [N, C, R, R] by a style, an affine function of w [N, w_dim]."""

    def __init__(self, checkpoint: Checkpoint, name: str, channels: int, w_dim: int) -> None:
        super().__init__()
        self.affine = Linear(checkpoint, f"{name}.affine", channels, w_dim)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Return x [N, C, R, R] scaled by the style of w [N, w_dim]."""
        style: Tensor = self.affine(w)
        return x * style[:, :, None, None]


class NoiseBiasAct(nn.Module):
    """Adds the fixed noise [R, R] (optional) and the bias [C] to x [N, C, R, R]; leaky ReLU without a gain."""

    def __init__(self, checkpoint: Checkpoint, name: str, channels: int, size: int) -> None:
        super().__init__()
        self.noise = parameter(checkpoint, f"{name}.noise", size, size)
        self.bias = parameter(checkpoint, f"{name}.bias", channels)

    def forward(self, x: Tensor, noisy: bool) -> Tensor:
        """Return the activation of x [N, C, R, R]."""
        if noisy:
            x = x + self.noise
        return functional.leaky_relu(x + self.bias[:, None, None], _RELU_SLOPE)


class ModulatedConv(nn.Module):
    """The first layer: a full 3x3 convolution, x [N, C, R, R] -> [N, C, R, R]."""

    def __init__(self, checkpoint: Checkpoint, name: str, channels: int, size: int, w_dim: int) -> None:
        super().__init__()
        self.modulation = Modulation(checkpoint, name, channels, w_dim)
        self.weight = parameter(checkpoint, f"{name}.weight", channels, channels, 3, 3)
        self.act = NoiseBiasAct(checkpoint, name, channels, size)

    def forward(self, x: Tensor, w: Tensor, noisy: bool) -> Tensor:
        """Map x [N, C, R, R] and w [N, w_dim] to [N, C, R, R]."""
        out: Tensor = self.act(functional.conv2d(self.modulation(x, w), self.weight, padding=1), noisy)
        return out


class ModulatedSeparableConv(nn.Module):
    """Depthwise 3x3, then pointwise 1x1: x [N, inputs, R, R] -> [N, outputs, R, R]."""

    def __init__(self, checkpoint: Checkpoint, name: str, inputs: int, outputs: int, size: int, w_dim: int) -> None:
        super().__init__()
        self.modulation = Modulation(checkpoint, name, inputs, w_dim)
        self.depthwise = parameter(checkpoint, f"{name}.depthwise", inputs, 1, 3, 3)
        self.pointwise = parameter(checkpoint, f"{name}.pointwise", outputs, inputs, 1, 1)
        self.act = NoiseBiasAct(checkpoint, name, outputs, size)

    def forward(self, x: Tensor, w: Tensor, noisy: bool) -> Tensor:
        """Map x [N, inputs, R, R] and w [N, w_dim] to [N, outputs, R, R]."""
        x = self.modulation(x, w)
        x = functional.conv2d(x, self.depthwise, padding=1, groups=x.shape[1])
        out: Tensor = self.act(functional.conv2d(x, self.pointwise), noisy)
        return out


def _squares() -> Tensor:
    """Return the 2x2 basis functions of LL, LH, HL and HH, [4, 2, 2]."""
    # LH differs between rows, HL between columns, HH both. The half is 1/sqrt(2) for rows times the same for columns.
    squares = [[[1, 1], [1, 1]], [[1, 1], [-1, -1]], [[1, -1], [1, -1]], [[1, -1], [-1, 1]]]
    return torch.tensor(squares, dtype=torch.float32) * 0.5


class InverseHaar(nn.Module):
    """Joins four Haar sub-bands: [N, 4C, R, R] -> [N, C, 2R, 2R].

    The first C channels are LL; channel C + 3c + j is the detail j (0 LH, 1 HL, 2 HH) of channel c.
    """

    filters: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filters", _squares()[:, None].repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, 4C, R, R] to [N, C, 2R, 2R]."""
        channels = x.shape[1] // _SUB_BANDS
        # A grouped convolution needs the four bands of one channel side by side.
        details = torch.unflatten(x[:, channels:], 1, (channels, 3))
        bands = torch.cat([x[:, :channels, None], details], dim=2).flatten(1, 2)
        return functional.conv_transpose2d(bands, self.filters, stride=2, groups=channels)


class ShufflingInverseHaar(nn.Module):
    """Joins four Haar sub-bands, interleaved as LL, LH, HL, HH per channel: [N, 4C, R, R] -> [N, C, 2R, 2R]."""

    filters: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        pixels = _squares().flatten(1).T  # [pixel, band]
        self.register_buffer("filters", pixels[:, :, None, None].repeat(channels, 1, 1, 1), persistent=False)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, 4C, R, R] to [N, C, 2R, 2R]."""
        return functional.pixel_shuffle(functional.conv2d(x, self.filters, groups=self.channels), 2)


def _inverse_haar(channels: int, form: Form) -> nn.Module:
    return InverseHaar(channels) if form == "grouped" else ShufflingInverseHaar(channels)


def _interleave_sub_bands(*parameters: nn.Parameter) -> None:
    """Reorder the leading axis from the checkpoint's order of sub-bands to that of ShufflingInverseHaar."""
    channels = len(parameters[0]) // _SUB_BANDS
    low = torch.arange(channels)[:, None]
    details = torch.arange(channels, _SUB_BANDS * channels).reshape(channels, 3)
    order = torch.cat([low, details], dim=1).flatten()
    for values in parameters:
        values.copy_(values[order])


class Block(nn.Module):
    """Doubles the size: x [N, inputs, R/2, R/2] -> [N, outputs, R, R], with one w for up and conv1, one for conv2."""

    def __init__(
        self, checkpoint: Checkpoint, name: str, inputs: int, outputs: int, size: int, w_dim: int, form: Form
    ) -> None:
        super().__init__()
        self.modulation = Modulation(checkpoint, f"{name}.up", inputs, w_dim)
        joined = inputs // _SUB_BANDS
        self.up = _inverse_haar(joined, form)
        self.conv1 = ModulatedSeparableConv(checkpoint, f"{name}.conv1", joined, outputs, size, w_dim)
        self.conv2 = ModulatedSeparableConv(checkpoint, f"{name}.conv2", outputs, outputs, size, w_dim)

    def forward(self, x: Tensor, w1: Tensor, w2: Tensor, noisy: bool) -> Tensor:
        """Map x [N, inputs, R/2, R/2], w1 and w2 [N, w_dim] to [N, outputs, R, R]."""
        x = self.up(self.modulation(x, w1))
        out: Tensor = self.conv2(self.conv1(x, w1, noisy), w2, noisy)
        return out


class ToImage(nn.Module):
    """A modulated 1x1 convolution and the last inverse transform: x [N, C, R, R] -> image [N, 3, 2R, 2R]."""

    def __init__(self, checkpoint: Checkpoint, name: str, channels: int, w_dim: int, form: Form) -> None:
        super().__init__()
        self.modulation = Modulation(checkpoint, name, channels, w_dim)
        self.weight = parameter(checkpoint, f"{name}.weight", _SUB_BANDS * _IMG_CHANNELS, channels, 1, 1)
        self.bias = parameter(checkpoint, f"{name}.bias", _SUB_BANDS * _IMG_CHANNELS)
        self.up = _inverse_haar(_IMG_CHANNELS, form)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map x [N, C, R, R] and w [N, w_dim] to the image [N, 3, 2R, 2R]."""
        image: Tensor = self.up(functional.conv2d(self.modulation(x, w), self.weight, self.bias))
        return image


class MobileStyleGAN(nn.Module):
    """The whole generator, without truncation; its parameters take no gradient.

    Input shapes are not checked: PyTorch raises its own errors.

    Attributes:
        z_dim: length of a latent z.
        w_dim: length of a style vector w.
        num_ws: style vectors per picture: one for conv1, three for each block (up and conv1, conv2, picture head), and
            a last one that nothing reads. Only the last block has a head, so the other heads' vectors are unused too.
        resolution: height and width of the picture.
    """

    def __init__(self, checkpoint: Checkpoint, form: Form = "grouped") -> None:
        super().__init__()
        if form not in ("grouped", "inference"):
            raise ValueError(f"form is {form!r}, expected 'grouped' or 'inference'")
        channels, size = _architecture(config := checkpoint.config)
        self.mapping_network = MappingNetwork(checkpoint)
        self.z_dim, self.w_dim = self.mapping_network.z_dim, self.mapping_network.w_dim
        self.resolution = positive(config, "resolution")
        self.num_ws = 3 * (len(channels) - 1) + 2
        self.input = parameter(checkpoint, "synthesis.input", 1, channels[0], size, size)
        self.conv1 = ModulatedConv(checkpoint, "synthesis.conv1", channels[0], size, self.w_dim)
        blocks = [
            Block(checkpoint, f"synthesis.blocks.{i}", inputs, outputs, size << (i + 1), self.w_dim, form)
            for i, (inputs, outputs) in enumerate(pairwise(channels))
        ]
        self.blocks = nn.ModuleList(blocks)
        self.to_img = ToImage(checkpoint, "synthesis.to_img", channels[-1], self.w_dim, form)
        if form == "inference":
            self._reorder_channels(blocks)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, form: Form = "grouped") -> MobileStyleGAN:
        """Return the network with the checkpoint's weights, on the CPU, in evaluation mode.

        Args:
            checkpoint: a checkpoint of family mobilestylegan.
            form: of the inverse transform; see the module. The pictures are equal up to rounding.

        Raises:
            CheckpointError: another family, invalid sizes, or a tensor is missing or has the wrong shape.
        """
        return cls(checkpoint, form).eval()

    def _reorder_channels(self, blocks: Sequence[Block]) -> None:
        """Reorder the output channels of each layer in front of an inverse transform for that transform."""
        producers = [(self.conv1.weight, self.conv1.act.bias)]
        producers += [(block.conv2.pointwise, block.conv2.act.bias) for block in blocks]
        for (weight, bias), block in zip(producers, blocks, strict=False):  # to_img reads the last one
            _interleave_sub_bands(weight, bias, block.modulation.affine.weight, block.modulation.affine.bias)
        _interleave_sub_bands(self.to_img.weight, self.to_img.bias)

    def mapping(self, z: Tensor) -> Tensor:
        """Map z [N, z_dim], standard normal, to w [N, w_dim]."""
        w: Tensor = self.mapping_network(z)
        return w

    def synthesis(self, ws: Tensor, noise_mode: Literal["const", "none"] = "const") -> Tensor:
        """Map ws [N, num_ws, w_dim] to the image [N, 3, resolution, resolution], not clamped; [-1, 1] is visible."""
        noisy = noise_mode == "const"
        x: Tensor = self.conv1(self.input.expand(ws.shape[0], -1, -1, -1), ws[:, 0], noisy)
        for i, block in enumerate(self.blocks):
            x = block(x, ws[:, 3 * i + 1], ws[:, 3 * i + 2], noisy)
        image: Tensor = self.to_img(x, ws[:, 3 * len(self.blocks)])
        return image

    def forward(self, z: Tensor) -> Tensor:
        """Map z [N, z_dim] to the image [N, 3, resolution, resolution], not clamped, with one w for all layers."""
        return self.synthesis(self.mapping(z)[:, None].expand(-1, self.num_ws, -1))


def _architecture(config: Mapping[str, Any]) -> tuple[list[int], int]:
    """Return the channels of conv1 and of each block, and the size of conv1."""
    require_family(config, _FAMILY)
    if config.get("img_channels", _IMG_CHANNELS) != _IMG_CHANNELS:
        raise CheckpointError(f"img_channels is {config['img_channels']!r}, expected {_IMG_CHANNELS}")
    channels = config.get("channels")
    if not isinstance(channels, list) or not channels[1:] or not all(type(c) is int and c > 0 for c in channels):
        raise CheckpointError(f"channels is {channels!r}, expected a positive integer for conv1 and for each block")
    if any(c % _SUB_BANDS for c in channels[:-1]):
        raise CheckpointError(f"channels is {channels}; all but the last must divide by {_SUB_BANDS} (Haar sub-bands)")
    # Each block doubles the size, and so does the last inverse transform.
    size, rest = divmod(positive(config, "resolution"), 1 << len(channels))
    if rest:
        raise CheckpointError(
            f"resolution {config['resolution']} is not a multiple of 2^{len(channels)} for {channels}"
        )
    return channels, size
