"""Converts StyleGAN2 from rosinality's PyTorch port, whose tensor names other ports share (Anycost, CAGAN).

BasicSR's is the same network under other names, without filters, which are not saved.

All sizes come from shapes, because pruned networks keep these names. Convolutions have the canonical orientation. The
learning rate multiplier of the mapping network is not in the file; it is the paper's 0.01. Maths: Karras et al., arXiv
1912.04958.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..checkpoint import Checkpoint
from .source_tensors import SourceTensors
from .stylegan2_parts import Stylegan2Parts, filter_taps

_LR_MUL = 0.01


@dataclass(frozen=True)
class PortNames:
    """Tensor names of a port of rosinality's network; `{}` is an index or the name of a layer."""

    source_format: str
    mapping: str
    const: str
    first: str
    layers: str
    conv: str
    noise_strength: str
    noise: str
    blur: str


ROSINALITY = PortNames(
    source_format="rosinality",
    mapping="style.{}",
    const="input.input",
    first="conv1",
    layers="convs.{}",
    conv="{}.conv",
    noise_strength="{}.noise.weight",
    noise="noises.noise_{}",
    blur="{}.blur.kernel",
)


def convert_rosinality(source: SourceTensors, names: PortNames = ROSINALITY) -> Checkpoint:
    """Return the canonical checkpoint of a generator.

    Args:
        source: the tensors of its moving average, and `latent_avg` if the file has it.
        names: the port's tensor names.

    Raises:
        CheckpointError: a tensor is missing, does not fit, or does not belong to this network.
    """
    return _Converter(source, names).convert()


class _Converter:
    def __init__(self, source: SourceTensors, names: PortNames) -> None:
        self.source, self.names = source, names
        self.parts = Stylegan2Parts(source.label)
        self.w_dim = 0

    def convert(self) -> Checkpoint:
        self.mapping()
        const = self.source.take(self.names.const, 1, None, 4, 4)
        self.parts.tensors["synthesis.input"] = const
        features = self.layer(self.names.first, "conv1", 0, const.shape[1])
        self.torgb("to_rgb1", features)
        block = 0
        while f"to_rgbs.{block}.bias" in self.source:
            self.parts.next_block()
            for part in range(2):
                index = 2 * block + part
                features = self.layer(self.names.layers.format(index), f"conv{part}", index + 1, features)
            self.filter(self.names.blur.format(self.names.conv.format(self.names.layers.format(2 * block))))
            self.torgb(f"to_rgbs.{block}", features)
            self.filter(f"to_rgbs.{block}.upsample.kernel")
            block += 1
        if "latent_avg" in self.source:  # [w_dim] or [1, w_dim]; trained checkpoints have none
            leading = (1,) if len(self.source.shape("latent_avg")) == 2 else ()
            average = self.source.take("latent_avg", *leading, self.w_dim)
            self.parts.tensors["w_avg"] = average.reshape(self.w_dim)
        self.source.finish()
        return self.parts.checkpoint(self.names.source_format)

    def mapping(self) -> None:
        """Take the mapping network. Index 0 is the normalisation, which has no tensors."""
        features: int | None = None
        index = 1
        while index == 1 or f"{self.names.mapping.format(index)}.weight" in self.source:
            name = self.names.mapping.format(index)
            weight = self.source.take(f"{name}.weight", features, features)
            features = int(weight.shape[0])  # only the first may not be square
            self.parts.put_mapping(weight, self.source.take(f"{name}.bias", features), _LR_MUL)
            index += 1
        self.w_dim = features or 0

    def layer(self, name: str, part: str, noise: int, features: int) -> int:
        """Take a modulated convolution; return its output channels."""
        conv, resolution = self.names.conv.format(name), self.parts.resolution
        weight = self.source.take(f"{conv}.weight", 1, None, features, 3, 3)[0]
        bias = self.source.take(f"{name}.activate.bias", weight.shape[0])
        const = self.source.take(self.names.noise.format(noise), 1, 1, resolution, resolution)[0, 0]
        strength = self.source.take(self.names.noise_strength.format(name), 1)
        self.affine(conv, part, features)
        return self.parts.put_layer(part, weight, bias, const, strength)

    def torgb(self, name: str, features: int) -> None:
        """Take the head of a block, and finish the block."""
        conv = self.names.conv.format(name)
        weight = self.source.take(f"{conv}.weight", 1, None, features, 1, 1)[0]
        bias = self.source.take(f"{name}.bias", 1, weight.shape[0], 1, 1).reshape(-1)
        self.affine(conv, "torgb", features)
        self.parts.put_torgb(weight, bias)
        self.parts.channels.append(features)

    def affine(self, conv: str, part: str, features: int) -> None:
        weight = self.source.take(f"{conv}.modulation.weight", features, self.w_dim)
        self.parts.put_affine(part, weight, self.source.take(f"{conv}.modulation.bias", features))

    def filter(self, name: str) -> None:
        """Take a filter if the file has it."""
        if name in self.source:
            kernel = self.source.take(name, None, None)
            self.parts.put_filter(filter_taps(kernel, 2.0, f"{self.source.label}: tensor {name!r}"))


BASICSR = PortNames(
    source_format="basicsr",
    mapping="style_mlp.{}",
    const="constant_input.weight",
    first="style_conv1",
    layers="style_convs.{}",
    conv="{}.modulated_conv",
    noise_strength="{}.weight",
    noise="noises.noise{}",
    blur="{}.smooth.kernel",
)


def convert_basicsr(source: SourceTensors) -> Checkpoint:
    """Return the canonical checkpoint of a generator.

    Args:
        source: the tensors of `params_ema`.

    Raises:
        CheckpointError: a tensor is missing, does not fit, or does not belong to this network.
    """
    return convert_rosinality(source, BASICSR)
