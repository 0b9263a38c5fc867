"""Converts StyleGAN2 from BasicSR: rosinality's network under other names, without filters, which are not saved.

The names are those of `StyleGAN2Generator` in BasicSR's archs; the maths is that of `rosinality`.
"""

from __future__ import annotations

from ..checkpoint import Checkpoint
from .rosinality import PortNames, convert_rosinality
from .source_tensors import SourceTensors

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
