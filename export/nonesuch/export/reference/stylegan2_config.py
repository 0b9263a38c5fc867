"""Reads and checks a checkpoint's config of a StyleGAN2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nonesuch.engine.errors import CheckpointError

from .modulated_conv import Form
from .parameters import positive, positive_float, require_family

Architecture = Literal["skip", "orig", "resnet"]

_ARCHITECTURES = ("skip", "orig", "resnet")
_MAX_IMG_CHANNELS = 4
_FIRST_SIZE = 4


@dataclass(frozen=True)
class StyleGAN2Config:
    """The shape of a synthesis network.

    Attributes:
        w_dim: length of a style vector.
        resolution: height and width of the picture, a power of two of at least 4.
        img_channels: 1 to 4.
        architecture: how the picture is composed (arXiv 1912.04958, figure 7): the sum of the RGB of every size, the
            last RGB alone, or residual blocks and the last RGB.
        conv_clamp: the limit of activations, or None.
        taps: the FIR filter of both axes, with sum 1.
        channels: of each block, starting with 4x4.
        form: how modulated convolutions run.
    """

    w_dim: int
    resolution: int
    img_channels: int
    architecture: Architecture
    conv_clamp: float | None
    taps: tuple[float, ...]
    channels: tuple[int, ...]
    form: Form

    @classmethod
    def read(cls, config: Mapping[str, Any], form: Form) -> StyleGAN2Config:
        """Read the config.

        Raises:
            CheckpointError: another family, or invalid values.
        """
        require_family(config, "stylegan2")
        resolution = positive(config, "resolution")
        if resolution < _FIRST_SIZE or resolution & (resolution - 1):
            raise CheckpointError(f"resolution is {resolution}, expected a power of two of at least {_FIRST_SIZE}")
        img_channels = positive(config, "img_channels")
        if img_channels > _MAX_IMG_CHANNELS:
            raise CheckpointError(f"img_channels is {img_channels}, expected 1 to {_MAX_IMG_CHANNELS}")
        if (architecture := config.get("architecture")) not in _ARCHITECTURES:
            raise CheckpointError(f"architecture is {architecture!r}, expected one of {', '.join(_ARCHITECTURES)}")
        blocks = int(math.log2(resolution)) - 1
        channels = config.get("channels")
        if not isinstance(channels, list) or not all(type(c) is int and c > 0 for c in channels):
            raise CheckpointError(f"channels is {channels!r}, expected a positive integer for each block")
        if len(channels) != blocks:
            raise CheckpointError(f"channels has {len(channels)} blocks, a resolution of {resolution} needs {blocks}")
        if "num_ws" in config and config["num_ws"] != 2 * blocks:
            raise CheckpointError(f"num_ws is {config['num_ws']!r}, a resolution of {resolution} needs {2 * blocks}")
        return cls(
            w_dim=positive(config, "w_dim"),
            resolution=resolution,
            img_channels=img_channels,
            architecture=architecture,
            conv_clamp=None if config.get("conv_clamp") is None else positive_float(config, "conv_clamp"),
            taps=_taps(config.get("resample_filter")),
            channels=tuple(channels),
            form=form,
        )

    @property
    def num_ws(self) -> int:
        """Style vectors per picture: one for each convolution, and one for the last RGB head."""
        return 2 * len(self.channels)

    def has_rgb(self, size: int) -> bool:
        """Whether the block of this size has an RGB head."""
        return self.architecture == "skip" or size == self.resolution


def _taps(values: Any) -> tuple[float, ...]:
    if not isinstance(values, list) or not values or not all(type(v) in (int, float) for v in values):
        raise CheckpointError(f"resample_filter is {values!r}, expected the taps of one axis")
    if not math.isclose(sum(values), 1, abs_tol=1e-5):
        raise CheckpointError(f"resample_filter is {values}, whose sum is not 1")
    return tuple(float(v) for v in values)
