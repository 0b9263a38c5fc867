"""The mapping network z -> w as ONNX, for every family with the plain StyleGAN2 mapping.

    z [N, z_dim] -> z * rsqrt(mean(z^2) + 1e-8) -> n x (product, LeakyRelu 0.2, gain sqrt 2) -> w [N, w_dim]
    c [N, c_dim] -> embedding -> the same normalization -> concatenated to z  (conditional networks)

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", arXiv 1912.04958, section 2 and
appendix B; conditions: arXiv 2006.06676, appendix D. The gain is folded: LeakyRelu is homogeneous, so
sqrt(2) * lrelu(Wx + b) = lrelu(sqrt(2) * (Wx + b)).
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import onnx_ir as ir

from ..checkpoint import Checkpoint
from .graph_builder import GraphBuilder
from .linear import Linear

_EPSILON = 1e-8
_SLOPE = 0.2
_GAIN = math.sqrt(2.0)


def build_mapping(checkpoint: Checkpoint, linear: Literal["gemm", "conv1x1"] = "gemm") -> ir.Model:
    """Build `mapping.onnx`: input `z float32 [N, z_dim]`, output `w float32 [N, w_dim]` before truncation.

    A conditional network (`c_dim` > 0) has a second input, `c float32 [N, c_dim]`: one-hot rows, for classes.

    Raises:
        CheckpointError: a tensor is missing, or its shape does not match the config.
    """
    config = checkpoint.config
    z_dim, w_dim, layers = (int(config[key]) for key in ("z_dim", "w_dim", "mapping_layers"))
    c_dim = int(config.get("c_dim", 0))
    graph = GraphBuilder("mapping")
    products = Linear(graph, linear)
    z = graph.input("z", ir.DataType.FLOAT, ["N", z_dim])
    x, features = products.enter(_normalize(graph, z, "normalize"), "z"), z_dim
    if c_dim:
        c = products.enter(graph.input("c", ir.DataType.FLOAT, ["N", c_dim]), "c")
        weight = checkpoint.tensor("mapping.embed.weight", w_dim, c_dim)
        embedded = products.apply(c, weight, checkpoint.tensor("mapping.embed.bias", w_dim), "embed")
        embedded = _normalize(graph, embedded, "embed/normalize")
        x, features = graph.op("Concat", [x, embedded], "embed/concat", axis=1), z_dim + w_dim
    for index in range(layers):
        scope = f"fc{index}"
        weight = checkpoint.tensor(f"mapping.{scope}.weight", w_dim, features) * np.float32(_GAIN)
        bias = checkpoint.tensor(f"mapping.{scope}.bias", w_dim) * np.float32(_GAIN)
        x = graph.op("LeakyRelu", [products.apply(x, weight, bias, scope)], f"{scope}/lrelu", alpha=_SLOPE)
        features = w_dim
    return graph.build([(products.leave(x, "w"), "w", ir.DataType.FLOAT, ["N", w_dim])])


def _normalize(graph: GraphBuilder, x: ir.Value, scope: str) -> ir.Value:
    """Scale every row to a mean square of 1, over axis 1."""
    square = graph.op("Mul", [x, x], f"{scope}/square")
    mean = graph.op("ReduceMean", [square, graph.integers(f"{scope}.axes", [1])], f"{scope}/mean", keepdims=1)
    epsilon = graph.constant(f"{scope}.epsilon", np.array(_EPSILON, dtype=np.float32))
    root = graph.op("Sqrt", [graph.op("Add", [mean, epsilon], f"{scope}/add")], f"{scope}/sqrt")
    return graph.op("Div", [x, root], f"{scope}/div")
