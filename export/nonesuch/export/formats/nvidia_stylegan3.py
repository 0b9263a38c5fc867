"""Converts StyleGAN3-T and -R from NVIDIA's PyTorch pickles.

The geometry (sizes, padding, factors) is read from each layer's attributes and checked for consistency; the filters are
tensors in the file. Maths: Karras et al., "Alias-Free Generative Adversarial Networks", arXiv 2106.12423.
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
from .stylegan2_parts import check_image

_MAX_LAYERS = 64
_MAX_TAPS = 256


def convert_nvidia_stylegan3(network: PickledModule, source: SourceTensors) -> Checkpoint:
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
    config = {"family": "stylegan3", **config, **synthesis.config, "source_format": "nvidia-pytorch"}
    return Checkpoint(config, tensors | synthesis.tensors)


class _Synthesis:
    """Takes the Fourier features and the layers."""

    def __init__(self, network: PickledModule, source: SourceTensors, w_dim: int) -> None:
        self.network, self.source, self.w_dim = network, source, w_dim
        self.module = network.at("synthesis")
        self.tensors: dict[str, NDArray[np.float32]] = {}
        self.config: dict[str, Any] = {}

    def take_all(self) -> None:
        names = self.module.attribute("layer_names")
        if (
            not isinstance(names, list)
            or not 1 <= len(names) <= _MAX_LAYERS
            or not all(isinstance(name, str) and len(name) < 100 for name in names)
        ):
            raise CheckpointError(f"{self.source.label}: synthesis.layer_names lists no layers")
        inputs = self._input()
        features, size = inputs["channels"], inputs["size"]
        layers: list[dict[str, Any]] = []
        clamps: set[float | None] = set()
        for index, name in enumerate(names):
            layer, clamp = self._layer(index, name, features, size, last=index == len(names) - 1)
            features, size = layer["out_channels"], layer["out_size"]
            layers.append(layer)
            clamps.add(clamp)
        if len(clamps) > 1:
            raise CheckpointError(f"{self.source.label}: the layers have different values of conv_clamp")
        num_ws = len(layers) + 1
        self.module.expect(num_ws=num_ws, img_resolution=size, img_channels=features, w_dim=self.w_dim)
        check_image(self.source.label, size, features)
        self.config = {
            "resolution": size,
            "img_channels": features,
            "num_ws": num_ws,
            "conv_clamp": clamps.pop(),
            "output_scale": self.module.positive("output_scale"),
            "input": inputs,
            "layers": layers,
        }

    def _input(self) -> dict[str, Any]:
        name = "synthesis.input"
        module = self.network.at(name)
        weight = self.source.take(f"{name}.weight", None, None)
        channels = weight.shape[0]
        if weight.shape != (channels, channels):
            raise CheckpointError(
                f"{self.source.label}: tensor '{name}.weight' has shape {weight.shape}, expected a square"
            )
        self.tensors[f"{name}.weight"] = weight * np.float32(1 / math.sqrt(channels))
        for part, shape in {"transform": (3, 3), "freqs": (channels, 2), "phases": (channels,)}.items():
            self.tensors[f"{name}.{part}"] = self.source.take(f"{name}.{part}", *shape)
        self._affine(name, 4)
        sampling_rate, bandwidth = module.positive("sampling_rate"), module.positive("bandwidth")
        if not 0 < 2 * bandwidth < sampling_rate:
            raise CheckpointError(
                f"{self.source.label}: {name} has bandwidth {bandwidth}, which is too high for rate {sampling_rate}"
            )
        return {
            "size": self._square(module, "size"),
            "sampling_rate": sampling_rate,
            "bandwidth": bandwidth,
            "channels": channels,
        }

    def _layer(
        self, index: int, name: str, features: int, size: int, last: bool
    ) -> tuple[dict[str, Any], float | None]:
        path, target = f"synthesis.{name}", f"synthesis.L{index}"
        module = self.network.at(path)
        kernel, torgb = module.integer("conv_kernel"), module.flag("is_torgb")
        weight = self.source.take(f"{path}.weight", None, features, kernel, kernel)
        module.expect(in_channels=features, out_channels=weight.shape[0], w_dim=self.w_dim, is_torgb=last)
        self.tensors[f"{target}.weight"] = weight
        self.tensors[f"{target}.bias"] = self.source.take(f"{path}.bias", weight.shape[0])
        magnitude = self.source.take(f"{path}.magnitude_ema")
        if magnitude <= 0:
            raise CheckpointError(f"{self.source.label}: tensor '{path}.magnitude_ema' is not positive")
        self.tensors[f"{target}.magnitude_ema"] = magnitude
        self._affine(path, features, target, gain=1 / math.sqrt(features) if torgb else 1.0)
        up, down = module.integer("up_factor"), module.integer("down_factor")
        taps = self._filter(path, target, "up", up), self._filter(path, target, "down", down)
        layer = {
            "name": name,
            "in_size": self._square(module, "in_size"),
            "out_size": self._square(module, "out_size"),
            "in_channels": features,
            "out_channels": weight.shape[0],
            "up_factor": up,
            "down_factor": down,
            "padding": module.integers("padding"),
            "conv_kernel": kernel,
            "is_torgb": torgb,
            "is_critically_sampled": module.flag("is_critically_sampled"),
        }
        self._check_geometry(path, layer, size, taps)
        return layer, None if module.attribute("conv_clamp") is None else module.positive("conv_clamp")

    def _check_geometry(self, path: str, layer: dict[str, Any], size: int, taps: tuple[int, int]) -> None:
        """Check that padding, factors and filters give the output size, as in appendix D of the paper."""
        padding = layer["padding"]
        fits = layer["in_size"] == size and len(padding) == 4 and padding[:2] == padding[2:]
        before = (size + layer["conv_kernel"] - 1) * layer["up_factor"]
        after = (layer["out_size"] - 1) * layer["down_factor"] + 1
        if not fits or before + sum(padding[:2]) - (sum(taps) - 2) != after:
            raise CheckpointError(f"{self.source.label}: {path} has inconsistent sizes and padding")

    def _filter(self, path: str, target: str, which: str, factor: int) -> int:
        """Take a filter if the file has it; return its length."""
        name = f"{path}.{which}_filter"
        if not 1 <= factor <= 16:
            raise CheckpointError(f"{self.source.label}: {path}.{which}_factor is {factor}, expected 1 to 16")
        if name not in self.source:
            if factor != 1:
                raise CheckpointError(f"{self.source.label}: tensor {name!r} is missing")
            return 1
        radial = which == "down" and len(self.source.shape(name)) == 2
        taken = self.source.take(name, *(None,) * (2 if radial else 1))
        if len(set(taken.shape)) > 1 or taken.shape[0] > _MAX_TAPS:
            raise CheckpointError(
                f"{self.source.label}: tensor {name!r} has shape {taken.shape}, which is not valid for a filter"
            )
        if not np.allclose(taken, np.flip(taken), atol=1e-6):  # convolution and correlation would differ
            raise CheckpointError(f"{self.source.label}: tensor {name!r} is not a symmetric filter")
        self.tensors[f"{target}.{which}_filter"] = taken
        return int(taken.shape[0])

    def _affine(self, path: str, out: int, target: str | None = None, gain: float = 1.0) -> None:
        taken = take_linear(self.network, self.source, f"{path}.affine", (out, self.w_dim), gain=gain)
        for part, array in zip(("weight", "bias"), taken, strict=True):
            self.tensors[f"{target or path}.affine.{part}"] = array

    def _square(self, module: PickledModule, name: str) -> int:
        sizes = module.integers(name)
        if len(set(sizes)) != 1 or not 1 <= sizes[0] <= 1 << 14:
            raise CheckpointError(
                f"{self.source.label}: {module.path}.{name} is {sizes[:4]}, expected one size of 1 to {1 << 14}"
            )
        return sizes[0]
