"""Runs any reference network on the inputs of a graph, so that both can be asked the same question."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from nonesuch.engine.manifest import Variant
from nonesuch.engine.session import Batch

__all__ = ["render"]


def render(network: Any, batch: Batch, variant: Variant, device: str = "cpu") -> Tensor:
    """The picture float32 [N, C, H, W], not clamped, of a batch as the variant's graph would take it."""
    options: dict[str, Any] = {}
    inputs: Mapping[str, Tensor] = {name: torch.from_numpy(array).to(device) for name, array in batch.inputs.items()}
    if "transform" in inputs:
        options["transform"] = inputs["transform"]
    noise = {name.removeprefix("noise."): array for name, array in inputs.items() if name.startswith("noise.")}
    if noise:
        options |= {"noise": noise, "noise_mode": "random"}
    elif variant.noise == "none" and "noise_mode" in signature(network.synthesis).parameters:
        options["noise_mode"] = "none"  # StyleGAN3 has no noise, so there the mode changes nothing
    with torch.inference_mode():
        image: Tensor = network.synthesis(torch.from_numpy(batch.ws).to(device), **options)
    return image
