"""Runs any reference network on the inputs of a graph, so that both can be asked the same question."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from nonesuch.engine.manifest import Variant
from nonesuch.engine.session import Batch

from .reference_network import ReferenceNetwork

__all__ = ["device_inputs", "render", "synthesis_options"]


def device_inputs(batch: Batch, device: str, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """All inputs of a batch by their names in the graph, on the device."""
    return {name: torch.from_numpy(array).to(device, dtype) for name, array in batch.feeds().items()}


def synthesis_options(network: ReferenceNetwork, inputs: Mapping[str, Tensor], variant: Variant) -> dict[str, Any]:
    """What `network.synthesis` takes besides ws, so that it shows what the variant's graph would."""
    options: dict[str, Any] = {}
    if "transform" in inputs:
        options["transform"] = inputs["transform"]
    noise = {name.removeprefix("noise."): array for name, array in inputs.items() if name.startswith("noise.")}
    if noise:
        options |= {"noise": noise, "noise_mode": "random"}
    elif variant.noise == "none" and "noise_mode" in signature(network.synthesis).parameters:
        options["noise_mode"] = "none"  # StyleGAN3 has no noise, so there the mode changes nothing
    return options


def render(network: ReferenceNetwork, batch: Batch, variant: Variant, device: str = "cpu") -> Tensor:
    """The picture float32 [N, C, H, W], not clamped, of a batch as the variant's graph would take it."""
    inputs = device_inputs(batch, device)
    with torch.inference_mode():
        image: Tensor = network.synthesis(inputs["ws"], **synthesis_options(network, inputs, variant))
    return image
