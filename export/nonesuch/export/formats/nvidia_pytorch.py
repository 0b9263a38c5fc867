"""Converts StyleGAN2 from NVIDIA's PyTorch pickles, of the StyleGAN2-ADA code and of the StyleGAN3 code.

Sizes come from the tensors; clamps, filters and architecture from the attributes of each layer. The keyword arguments
in a pickle omit defaults, which differ between the two code bases.
Maths: Karras et al., arXiv 1912.04958 and 2006.06676; the canonical names are in docs/formats.md.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError

from ..checkpoint import Checkpoint
from .nvidia_layers import take_linear, take_mapping
from .persistent_module import PickledModule
from .source_tensors import SourceTensors
from .stylegan2_parts import MAX_RESOLUTION, check_image, filter_taps

_ARCHITECTURES = ("skip", "orig", "resnet")


def convert_nvidia_stylegan2(network: PickledModule, source: SourceTensors) -> Checkpoint:
    """Return the canonical checkpoint of a generator.

    Args:
        network: the generator (`G_ema`).
        source: its tensors by dotted name.

    Raises:
        CheckpointError: a tensor or an attribute is missing or does not fit.
    """
    config, tensors = take_mapping(network, source)
    synthesis = _Synthesis(network, source, config["w_dim"])
    synthesis.take_all()
    source.finish()
    config = {"family": "stylegan2", **config, **synthesis.config(), "source_format": "nvidia-pytorch"}
    return Checkpoint(config, tensors | synthesis.tensors)


class _Synthesis:
    """Takes the synthesis network, block by block."""

    def __init__(self, network: PickledModule, source: SourceTensors, w_dim: int) -> None:
        self.network, self.source, self.w_dim = network, source, w_dim
        self.module = network.at("synthesis")
        self.tensors: dict[str, NDArray[np.float32]] = {}
        self.clamps: dict[str, float | None] = {}
        self.filters: dict[str, tuple[float, ...]] = {}
        self.channels: list[int] = []
        self.architecture = self.module.at("b4").text("architecture")
        self.img_channels = self.module.integer("img_channels")
        self.resolution = 4

    def config(self) -> dict[str, Any]:
        num_ws = 2 * int(math.log2(self.resolution)) - 2
        self.module.expect(num_ws=num_ws, img_resolution=self.resolution, w_dim=self.w_dim)
        return {
            "resolution": self.resolution,
            "img_channels": self.img_channels,
            "architecture": self.architecture,
            "conv_clamp": self._shared_value(self.clamps, "conv_clamp"),
            "resample_filter": list(self._shared_value(self.filters, "resample_filter")),
            "channels": self.channels,
            "num_ws": num_ws,
        }

    def take_all(self) -> None:
        if self.architecture not in _ARCHITECTURES:
            raise CheckpointError(f"{self.source.label}: architecture {self.architecture!r} is unknown")
        check_image(self.source.label, self.module.integer("img_resolution"), self.img_channels)
        const = self.source.take("synthesis.b4.const", None, 4, 4)
        self.tensors["synthesis.input"] = const[None]
        features = self._layer("b4", "conv1", 4, const.shape[0], up=1)
        while True:
            self._finish_block(features)
            if not self.module.has(f"b{2 * self.resolution}") or self.resolution == MAX_RESOLUTION:
                return
            self.resolution *= 2
            block = f"b{self.resolution}"
            middle = self._layer(block, "conv0", self.resolution, features, up=2)
            inputs, features = features, self._layer(block, "conv1", self.resolution, middle, up=1)
            if self.architecture == "resnet":
                self._skip(block, inputs, features)

    def _finish_block(self, features: int) -> None:
        name = f"b{self.resolution}"
        block = self.module.at(name)
        last = not self.module.has(f"b{2 * self.resolution}")
        block.expect(architecture=self.architecture, is_last=last, img_channels=self.img_channels)
        self.channels.append(features)
        self._filter(f"synthesis.{name}")
        if last or self.architecture == "skip":
            self._torgb(name, features)

    def _layer(self, block: str, part: str, resolution: int, features: int, up: int) -> int:
        """Take a modulated convolution; return its output channels."""
        name = f"synthesis.{block}.{part}"
        layer = self.network.at(name)
        layer.expect(up=up, padding=1, resolution=resolution, activation="lrelu", act_gain=math.sqrt(2))
        weight = self.source.take(f"{name}.weight", None, features, 3, 3)
        self._put(name, weight, self.source.take(f"{name}.bias", weight.shape[0]))
        self._affine(name, features)
        if layer.flag("use_noise"):
            const = self.source.take(f"{name}.noise_const", resolution, resolution)
            strength = self.source.take(f"{name}.noise_strength")
        else:
            const, strength = np.zeros((resolution, resolution), np.float32), np.zeros((), np.float32)
        self.tensors[f"{name}.noise_const"], self.tensors[f"{name}.noise_strength"] = const, strength
        self._filter(name)
        self._clamp(name)
        return int(weight.shape[0])

    def _torgb(self, block: str, features: int) -> None:
        name = f"synthesis.{block}.torgb"
        weight = self.source.take(f"{name}.weight", self.img_channels, features, 1, 1)
        self._put(name, weight, self.source.take(f"{name}.bias", self.img_channels))
        self._affine(name, features, gain=self.network.at(name).positive("weight_gain"))
        self._clamp(name)

    def _skip(self, block: str, inputs: int, features: int) -> None:
        name = f"synthesis.{block}.skip"
        layer = self.network.at(name)
        layer.expect(up=2, activation="linear", conv_clamp=None)
        weight = self.source.take(f"{name}.weight", features, inputs, 1, 1)
        self.tensors[f"{name}.weight"] = weight * np.float32(layer.positive("weight_gain"))
        self._filter(name)

    def _put(self, name: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"] = weight, bias

    def _affine(self, name: str, features: int, gain: float = 1.0) -> None:
        taken = take_linear(self.network, self.source, f"{name}.affine", (features, self.w_dim), gain=gain)
        self._put(f"{name}.affine", *taken)

    def _clamp(self, name: str) -> None:
        layer = self.network.at(name)
        self.clamps[name] = None if layer.attribute("conv_clamp") is None else layer.positive("conv_clamp")

    def _filter(self, owner: str) -> None:
        """Take a filter. All are read, even those not used for up-sampling, so that differences are detected."""
        name = f"{owner}.resample_filter"
        dimensions = len(self.source.shape(name))
        kernel = self.source.take(name, *(None,) * dimensions)
        taps = filter_taps(kernel, 1.0, f"{self.source.label}: tensor {name!r}")
        self.filters[name] = tuple(taps)

    def _shared_value(self, values: dict[str, Any], what: str) -> Any:
        """Return the value that all layers share."""
        first, value = next(iter(values.items()))
        for name, other in values.items():
            if other != value:
                raise CheckpointError(f"{self.source.label}: {what} of {name} differs from that of {first}")
        return value
