"""Converts StyleGAN2 from GenForce: PyTorch tensors that keep TensorFlow's conventions.

Up-sampling weights are stored for a convolution and flipped at run time, and styles get 1 added. Layer n is conv1 of
4x4 (n = 0), then conv0 and conv1 of each block; head k is that of block k. The learning rate multiplier of the mapping
network is not in the file; it is the paper's 0.01. Maths: Karras et al., arXiv 1912.04958.
"""

from __future__ import annotations

import numpy as np

from nonesuch.engine.errors import CheckpointError

from ..checkpoint import Checkpoint
from .source_tensors import SourceTensors
from .stylegan2_parts import Stylegan2Parts, filter_taps

_LR_MUL = 0.01


def convert_genforce(source: SourceTensors) -> Checkpoint:
    """Return the canonical checkpoint of a generator.

    Args:
        source: the tensors of `generator_smooth`.

    Raises:
        CheckpointError: a tensor is missing, does not fit, or does not belong to this network.
    """
    return _Converter(source).convert()


class _Converter:
    def __init__(self, source: SourceTensors) -> None:
        self.source = source
        self.parts = Stylegan2Parts(source.label)
        self.w_dim = 0

    def convert(self) -> Checkpoint:
        if "mapping.label_weight" in self.source:
            raise CheckpointError(f"{self.source.label}: a conditional network of GenForce, which is not supported")
        self.mapping()
        const = self.source.take("synthesis.early_layer.const", 1, None, 4, 4)
        self.parts.tensors["synthesis.input"] = const
        features = self.layer(0, "conv1", const.shape[1])
        self.torgb(0, features)
        block = 1
        while f"synthesis.layer{2 * block}.weight" in self.source:
            self.parts.next_block()
            features = self.layer(2 * block - 1, "conv0", features)
            features = self.layer(2 * block, "conv1", features)
            self.torgb(block, features)
            block += 1
        self.filter("synthesis.upsample.kernel")
        if "truncation.w_avg" in self.source:
            self.parts.tensors["w_avg"] = self.source.take("truncation.w_avg", self.w_dim)
        self.source.finish()
        return self.parts.checkpoint("genforce")

    def mapping(self) -> None:
        features: int | None = None
        index = 0
        while index == 0 or f"mapping.dense{index}.weight" in self.source:
            name = f"mapping.dense{index}"
            weight = self.source.take(f"{name}.weight", features, features)
            features = int(weight.shape[0])  # only the first may not be square
            self.parts.put_mapping(weight, self.source.take(f"{name}.bias", features), _LR_MUL)
            index += 1
        self.w_dim = features or 0

    def layer(self, index: int, part: str, features: int) -> int:
        """Take a modulated convolution; return its output channels."""
        name, resolution = f"synthesis.layer{index}", self.parts.resolution
        weight = self.source.take(f"{name}.weight", None, features, 3, 3)
        if part == "conv0":
            weight = weight[:, :, ::-1, ::-1]
            self.filter(f"{name}.filter.kernel")
        bias = self.source.take(f"{name}.bias", weight.shape[0])
        noise = self.source.take(f"{name}.noise", 1, 1, resolution, resolution)[0, 0]
        strength = self.source.take(f"{name}.noise_strength")
        self.affine(name, part, features)
        return self.parts.put_layer(part, weight, bias, noise, strength)

    def torgb(self, index: int, features: int) -> None:
        """Take the head of a block, and finish the block."""
        name = f"synthesis.output{index}"
        weight = self.source.take(f"{name}.weight", None, features, 1, 1)
        self.affine(name, "torgb", features)
        self.parts.put_torgb(weight, self.source.take(f"{name}.bias", weight.shape[0]))
        self.parts.channels.append(features)

    def affine(self, name: str, part: str, features: int) -> None:
        weight = self.source.take(f"{name}.style.weight", features, self.w_dim)
        bias = self.source.take(f"{name}.style.bias", features)
        self.parts.put_affine(part, weight, bias + np.float32(1))

    def filter(self, name: str) -> None:
        """Take a filter if the file has it."""
        if name in self.source:
            kernel = self.source.take(name, 1, 1, None, None)[0, 0]
            self.parts.put_filter(filter_taps(kernel, 2.0, f"{self.source.label}: tensor {name!r}"))
