"""Reads a checkpoint for the networks: its tensors as PyTorch's, its config by type.

Every function raises CheckpointError, which names the tensor or the key and what the network needs instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nonesuch.engine.errors import CheckpointError

from ..checkpoint import Checkpoint

__all__ = ["non_negative", "parameter", "positive", "positive_float", "require_family"]


def parameter(checkpoint: Checkpoint, name: str, *shape: int) -> nn.Parameter:
    """The tensor of that name, checked to have that shape, as a parameter that takes no gradient."""
    # A copy, because checkpoint arrays may be views of read-only bytes.
    return nn.Parameter(torch.tensor(checkpoint.tensor(name, *shape), dtype=torch.float32), requires_grad=False)


def require_family(config: Mapping[str, Any], family: str) -> None:
    """Refuses the checkpoint of another family."""
    if config.get("family") != family:
        raise CheckpointError(f"the checkpoint is of family {config.get('family')!r}, expected {family!r}")


def positive(config: Mapping[str, Any], key: str) -> int:
    """A positive integer of the config."""
    value = config.get(key)
    if type(value) is not int or value < 1:
        raise CheckpointError(f"{key} is {value!r} in the checkpoint's config, expected a positive integer")
    return value


def non_negative(config: Mapping[str, Any], key: str) -> int:
    """An integer of the config that may be zero, which it also is where the config has none."""
    value = config.get(key, 0)
    if type(value) is not int or value < 0:
        raise CheckpointError(f"{key} is {value!r} in the checkpoint's config, expected an integer of 0 or more")
    return value


def positive_float(config: Mapping[str, Any], key: str) -> float:
    """A positive, finite number of the config."""
    value = config.get(key)
    if type(value) not in (int, float) or not math.isfinite(value) or value <= 0:  # type: ignore[arg-type, operator]
        raise CheckpointError(f"{key} is {value!r} in the checkpoint's config, expected a positive number")
    return float(value)  # type: ignore[arg-type]
