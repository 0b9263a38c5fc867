"""Collects the tensors of a StyleGAN2 under their canonical names, with the runtime gains of ports folded in.

For the ports that store raw weights and fixed conventions: weights are scaled by 1/sqrt(fan-in), also before
demodulation; affine layers by 1/sqrt(w_dim); affine layers of heads also by 1/sqrt(channels), because a head is not
demodulated.
Source: Karras et al., arXiv 1912.04958, section 2 and appendix B; arXiv 1710.10196, section 4.1 (equalised rate).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError

from ..checkpoint import Checkpoint

MAX_RESOLUTION = 4096
_Array = NDArray[np.float32]


class Stylegan2Parts:
    """Tensors of a network, collected layer by layer, starting with 4x4.

    Attributes:
        label: the file's name in errors.
        tensors: the tensors so far, by canonical name.
        channels: output channels of each finished block.
        resolution: of the current block.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self.tensors: dict[str, _Array] = {}
        self.channels: list[int] = []
        self.resolution = 4
        self._filters: list[list[float]] = []
        self._images: set[int] = set()
        self._mapping_layers = 0

    def put_mapping(self, weight: _Array, bias: _Array, lr_mul: float) -> None:
        """Add the next layer of the mapping network: weight [out, in], bias [out]."""
        name = f"mapping.fc{self._mapping_layers}"
        self.tensors[f"{name}.weight"] = _scaled(weight, lr_mul / math.sqrt(weight.shape[1]))
        self.tensors[f"{name}.bias"] = _scaled(bias, lr_mul)
        self._mapping_layers += 1

    def put_embed(self, weight: _Array, bias: _Array) -> None:
        """Add the embedding of the label: weight [w_dim, c_dim], bias [w_dim]."""
        self.tensors["mapping.embed.weight"] = _scaled(weight, 1 / math.sqrt(weight.shape[1]))
        self.tensors["mapping.embed.bias"] = bias

    def put_layer(self, part: str, weight: _Array, bias: _Array, noise: _Array, strength: _Array) -> int:
        """Add a modulated convolution of the block: weight [O, I, 3, 3], noise [r, r]; return O."""
        name = self.name(part)
        self.tensors[f"{name}.weight"] = _scaled(weight, 1 / math.sqrt(weight.shape[1] * 9))
        self.tensors[f"{name}.bias"] = bias
        self.tensors[f"{name}.noise_const"] = noise
        self.tensors[f"{name}.noise_strength"] = strength.reshape(())
        return int(weight.shape[0])

    def put_torgb(self, weight: _Array, bias: _Array) -> None:
        """Add the head of the block: weight [img_channels, I, 1, 1]."""
        name = self.name("torgb")
        self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"] = np.ascontiguousarray(weight), bias
        self._images.add(int(weight.shape[0]))

    def put_affine(self, part: str, weight: _Array, bias: _Array) -> None:
        """Add the affine layer of a convolution or a head: weight [I, w_dim], bias [I] including the 1."""
        gain = 1 / math.sqrt(weight.shape[0]) if part == "torgb" else 1.0
        name = f"{self.name(part)}.affine"
        self.tensors[f"{name}.weight"] = _scaled(weight, gain / math.sqrt(weight.shape[1]))
        self.tensors[f"{name}.bias"] = _scaled(bias, gain)

    def put_skip(self, weight: _Array) -> None:
        """Add the residual branch of the block: weight [O, I, 1, 1]."""
        self.tensors[f"{self.name('skip')}.weight"] = _scaled(weight, 1 / math.sqrt(weight.shape[1]))

    def put_filter(self, taps: list[float]) -> None:
        """Add the taps of a layer's filter, which all layers must share.

        Raises:
            CheckpointError: they differ from those of the previous layers.
        """
        self._filters.append(taps)
        if taps != self._filters[0]:
            raise CheckpointError(f"{self.label}: the layers of the network have different filters")

    def next_block(self) -> None:
        """Start the block of twice the resolution.

        Raises:
            CheckpointError: it exceeds MAX_RESOLUTION.
        """
        self.resolution *= 2
        if self.resolution > MAX_RESOLUTION:
            raise CheckpointError(f"{self.label}: a network of more than {MAX_RESOLUTION} pixels")

    def name(self, part: str) -> str:
        """Return the canonical name of a part of the block."""
        return f"synthesis.b{self.resolution}.{part}"

    def checkpoint(
        self, source_format: str, c_dim: int = 0, architecture: str = "skip", conv_clamp: float | None = None
    ) -> Checkpoint:
        """Return the checkpoint; its config is derived from the tensors.

        Raises:
            CheckpointError: the heads disagree, or the picture's size or number of channels is not supported.
        """
        if len(self._images) != 1:
            raise CheckpointError(f"{self.label}: the heads of the network have different numbers of image channels")
        images = self._images.pop()
        check_image(self.label, self.resolution, images)
        first, last = (self.tensors[f"mapping.fc{index}.weight"] for index in (0, self._mapping_layers - 1))
        w_dim = int(last.shape[0])
        z_dim = int(first.shape[1]) - (w_dim if c_dim else 0)
        if z_dim < 1:
            raise CheckpointError(f"{self.label}: the first mapping layer is too narrow for the labels")
        config = {
            "family": "stylegan2",
            "z_dim": z_dim,
            "c_dim": c_dim,
            "w_dim": w_dim,
            "mapping_layers": self._mapping_layers,
            "resolution": self.resolution,
            "img_channels": images,
            "architecture": architecture,
            "conv_clamp": conv_clamp,
            "resample_filter": self._filters[0] if self._filters else list(DEFAULT_TAPS),
            "channels": self.channels,
            "num_ws": 2 * int(math.log2(self.resolution)) - 2,
            "source_format": source_format,
        }
        return Checkpoint(config, self.tensors)


def check_image(label: str, resolution: int, img_channels: int) -> None:
    """Check the size and number of channels of the picture.

    Raises:
        CheckpointError: fewer than 8 or more than 4096 pixels per side, or not 1 to 4 channels.
    """
    if not 8 <= resolution <= MAX_RESOLUTION or not 1 <= img_channels <= 4:
        raise CheckpointError(
            f"{label}: a network of {resolution} pixels and {img_channels} image channels; supported are 8 to "
            f"{MAX_RESOLUTION} pixels and 1 to 4 channels"
        )


def _scaled(array: _Array, gain: float) -> _Array:
    return np.ascontiguousarray(array) * np.float32(gain)


DEFAULT_TAPS = [0.125, 0.375, 0.375, 0.125]  # [1, 3, 3, 1] / 8, of arXiv 1912.04958
_MAX_TAPS = 32


def filter_taps(kernel: NDArray[np.float32], gain: float, what: str) -> list[float]:
    """Return the taps of a separable filter.

    Args:
        kernel: [taps] or [taps, taps], with sum `gain` or `gain` squared.
        gain: the port's factor on each axis (2 if it compensates for the zeros of up-sampling).
        what: the file and the tensor, for errors.

    Returns:
        Taps with sum 1.

    Raises:
        CheckpointError: it is not separable, not symmetric, or its sum is wrong.
    """
    if kernel.ndim not in (1, 2) or kernel.shape != kernel.shape[:1] * kernel.ndim or len(kernel) > _MAX_TAPS:
        raise CheckpointError(f"{what} has shape {kernel.shape}; a filter has at most {_MAX_TAPS} taps per axis")
    if kernel.ndim == 2:
        taps = kernel.sum(axis=1, dtype=np.float64) / gain**2
        separable = bool(np.allclose(np.outer(taps, taps) * gain**2, kernel, atol=1e-6))
    else:
        taps, separable = kernel.astype(np.float64) / gain, True
    if not separable:
        raise CheckpointError(f"{what} is not a separable filter of gain {gain:g} per axis")
    # For a symmetric filter convolution equals correlation, so it does not matter which one a port computes.
    if not np.isclose(taps.sum(), 1, atol=1e-5) or not np.allclose(taps, taps[::-1], atol=1e-6):
        raise CheckpointError(f"{what} is not a symmetric filter of gain {gain:g}")
    return [float(tap) for tap in taps]
