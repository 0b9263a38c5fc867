"""Reads a checkpoint for the networks: tensors as PyTorch parameters, config values by type.

Every function raises CheckpointError, which names the tensor or key and the expected value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nonesuch.engine.errors import CheckpointError

from ..checkpoint import Checkpoint


def parameter(checkpoint: Checkpoint, name: str, *shape: int) -> nn.Parameter:
    """Return the tensor with this name and shape as a parameter without gradient."""
    # A copy, because checkpoint arrays may be views of read-only bytes.
    return nn.Parameter(torch.tensor(checkpoint.tensor(name, *shape), dtype=torch.float32), requires_grad=False)


def require_family(config: Mapping[str, Any], family: str) -> None:
    """Check that the config belongs to this family."""
    if config.get("family") != family:
        raise CheckpointError(f"the checkpoint is of family {config.get('family')!r}, expected {family!r}")


def positive(config: Mapping[str, Any], key: str) -> int:
    """Return a positive integer of the config."""
    value = config.get(key)
    if type(value) is not int or value < 1:
        raise CheckpointError(f"{key} is {value!r} in the checkpoint's config, expected a positive integer")
    return value


def non_negative(config: Mapping[str, Any], key: str) -> int:
    """Return an integer of the config that is 0 or more; 0 by default."""
    value = config.get(key, 0)
    if type(value) is not int or value < 0:
        raise CheckpointError(f"{key} is {value!r} in the checkpoint's config, expected an integer of 0 or more")
    return value


def positive_float(config: Mapping[str, Any], key: str) -> float:
    """Return a positive, finite number of the config."""
    value = config.get(key)
    if type(value) not in (int, float) or not math.isfinite(value) or value <= 0:  # type: ignore[arg-type, operator]
        raise CheckpointError(f"{key} is {value!r} in the checkpoint's config, expected a positive number")
    return float(value)  # type: ignore[arg-type]
