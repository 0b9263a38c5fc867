"""Reads and checks a checkpoint's config of a StyleGAN3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nonesuch.engine.errors import CheckpointError

from .modulated_conv import Form
from .parameters import positive, positive_float, require_family
from .resampling import Padding


@dataclass(frozen=True)
class InputShape:
    """The Fourier features: `size` x `size` samples at `sampling_rate` samples per unit of length."""

    size: int
    sampling_rate: float
    bandwidth: float
    channels: int


@dataclass(frozen=True)
class LayerShape:
    """One layer: x [N, in_channels, in_size, in_size] to [N, out_channels, out_size, out_size]."""

    in_size: int
    out_size: int
    in_channels: int
    out_channels: int
    up: int
    down: int
    padding: Padding
    kernel: int
    is_torgb: bool

    @classmethod
    def read(cls, entry: Any, index: int) -> LayerShape:
        """Read an entry of the config's `layers`.

        Raises:
            CheckpointError: the entry is invalid.
        """
        if not isinstance(entry, Mapping):
            raise CheckpointError(
                f"layer {index} is {entry!r} in the checkpoint's config, expected an object with its sizes"
            )
        padding = entry.get("padding")
        if not isinstance(padding, list) or len(padding) != 4 or not all(type(p) is int for p in padding):
            raise CheckpointError(f"padding of layer {index} is {padding!r}, expected four integers: x, x, y, y")
        if type(is_torgb := entry.get("is_torgb")) is not bool:
            raise CheckpointError(f"is_torgb of layer {index} is {is_torgb!r}, expected true or false")
        return cls(
            in_size=positive(entry, "in_size"),
            out_size=positive(entry, "out_size"),
            in_channels=positive(entry, "in_channels"),
            out_channels=positive(entry, "out_channels"),
            up=positive(entry, "up_factor"),
            down=positive(entry, "down_factor"),
            padding=Padding(*padding),
            kernel=positive(entry, "conv_kernel"),
            is_torgb=is_torgb,
        )

    def check_filters(self, index: int, up_taps: int, down_taps: int) -> None:
        """Check that filters of these lengths give `out_size`."""
        # The number of samples needed before decimation; the last one is kept.
        needed = (self.out_size - 1) * self.down + 1
        stretched = (self.in_size + self.kernel - 1) * self.up - up_taps - down_taps + 2
        left, right, top, bottom = self.padding
        if (stretched + left + right, stretched + top + bottom) != (needed, needed):
            raise CheckpointError(
                f"layer {index} has {stretched + left + right}x{stretched + top + bottom} samples after filters of "
                f"{up_taps} and {down_taps} taps; out_size {self.out_size} needs {needed}"
            )


@dataclass(frozen=True)
class StyleGAN3Config:
    """The shape of a synthesis network.

    Attributes:
        w_dim: length of a style vector.
        resolution: height and width of the picture.
        img_channels: channels of the picture.
        conv_clamp: the limit of activations, or None.
        output_scale: multiplies the last layer's output.
        input: the Fourier features.
        layers: in order; the last makes the picture.
        form: how modulated convolutions run.
    """

    w_dim: int
    resolution: int
    img_channels: int
    conv_clamp: float | None
    output_scale: float
    input: InputShape
    layers: tuple[LayerShape, ...]
    form: Form

    @classmethod
    def read(cls, config: Mapping[str, Any], form: Form) -> StyleGAN3Config:
        """Read the config.

        Raises:
            CheckpointError: another family, or invalid values.
        """
        require_family(config, "stylegan3")
        input_, entries = config.get("input"), config.get("layers")
        if not isinstance(input_, Mapping):
            raise CheckpointError(f"input is {input_!r} in the checkpoint's config, expected an object with its sizes")
        if not isinstance(entries, list) or not entries:
            raise CheckpointError(f"layers is {entries!r} in the checkpoint's config, expected a non-empty list")
        found = cls(
            w_dim=positive(config, "w_dim"),
            resolution=positive(config, "resolution"),
            img_channels=positive(config, "img_channels"),
            conv_clamp=None if config.get("conv_clamp") is None else positive_float(config, "conv_clamp"),
            output_scale=positive_float(config, "output_scale"),
            input=InputShape(
                size=positive(input_, "size"),
                sampling_rate=positive_float(input_, "sampling_rate"),
                bandwidth=positive_float(input_, "bandwidth"),
                channels=positive(input_, "channels"),
            ),
            layers=tuple(LayerShape.read(entry, index) for index, entry in enumerate(entries)),
            form=form,
        )
        found._check_chain()
        if "num_ws" in config and config["num_ws"] != found.num_ws:
            raise CheckpointError(f"num_ws is {config['num_ws']!r}, {len(entries)} layers need {found.num_ws}")
        return found

    @property
    def num_ws(self) -> int:
        """Style vectors per picture: one for the input, and one for each layer."""
        return len(self.layers) + 1

    def _check_chain(self) -> None:
        """Check that each layer's input matches the previous layer's output."""
        size, channels = self.input.size, self.input.channels
        for index, layer in enumerate(self.layers):
            if (layer.in_size, layer.in_channels) != (size, channels):
                raise CheckpointError(
                    f"layer {index} takes {layer.in_channels} channels of {layer.in_size}, "
                    f"but gets {channels} of {size}"
                )
            size, channels = layer.out_size, layer.out_channels
        if (size, channels) != (self.resolution, self.img_channels):
            raise CheckpointError(
                f"the last layer makes {channels} channels of {size}, "
                f"but the picture has {self.img_channels} of {self.resolution}"
            )
