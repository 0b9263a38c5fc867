"""The layers shared by StyleGAN2 and StyleGAN3 of NVIDIA's PyTorch code: linear layers and the mapping network.

Each layer in the pickle has gains as attributes (`weight_gain`, `bias_gain`); they are folded into the weights here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .persistent_module import PickledModule
from .source_tensors import SourceTensors


def take_linear(
    network: PickledModule,
    source: SourceTensors,
    name: str,
    shape: tuple[int | None, int | None],
    activation: str = "linear",
    gain: float = 1.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Take the weight [out, in] and bias [out] of a fully connected layer, with its gains and `gain` folded.

    Raises:
        CheckpointError: the shape or activation is wrong.
    """
    layer = network.at(name)
    layer.expect(activation=activation)
    weight = source.take(f"{name}.weight", *shape)
    bias = source.take(f"{name}.bias", weight.shape[0])
    weight_gain, bias_gain = layer.positive("weight_gain") * gain, layer.positive("bias_gain") * gain
    return weight * np.float32(weight_gain), bias * np.float32(bias_gain)


def take_mapping(
    network: PickledModule, source: SourceTensors
) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """Take the mapping network.

    Returns:
        Its part of the config (z_dim, c_dim, w_dim, mapping_layers), and its tensors.

    Raises:
        CheckpointError: a layer is missing or has the wrong shape.
    """
    module = network.at("mapping")
    z_dim, c_dim, w_dim = (module.integer(name) for name in ("z_dim", "c_dim", "w_dim"))
    tensors: dict[str, NDArray[np.float32]] = {}

    def linear(name: str, features: int, activation: str) -> None:
        path = f"mapping.{name}"
        taken = take_linear(network, source, path, (w_dim, features), activation)
        tensors[f"{path}.weight"], tensors[f"{path}.bias"] = taken

    if c_dim:
        linear("embed", c_dim, "linear")
    features = z_dim + (w_dim if c_dim else 0)
    layers = 0
    while layers == 0 or module.has(f"fc{layers}"):
        linear(f"fc{layers}", features, "lrelu")
        features = w_dim
        layers += 1
    if "mapping.w_avg" in source:
        tensors["w_avg"] = source.take("mapping.w_avg", w_dim)
    return {"z_dim": z_dim, "c_dim": c_dim, "w_dim": w_dim, "mapping_layers": layers}, tensors
