"""The mapping network z -> w as ONNX, for every family that has the plain StyleGAN2 one.

    z [N, z_dim] -> z * rsqrt(mean(z^2) + 1e-8) -> n x (Gemm, LeakyRelu 0.2, gain sqrt 2) -> w [N, w_dim]

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", arXiv 1912.04958, section 2 and
appendix B. The gain is folded: LeakyRelu is homogeneous, so sqrt(2) * lrelu(Wx + b) = lrelu(sqrt(2) * (Wx + b)).
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from ..checkpoint import Checkpoint
from .graph_builder import GraphBuilder

__all__ = ["build_mapping"]

_EPSILON = 1e-8
_SLOPE = 0.2
_GAIN = math.sqrt(2.0)


def build_mapping(checkpoint: Checkpoint) -> ir.Model:
    """Build `mapping.onnx`: input `z float32 [N, z_dim]`, output `w float32 [N, w_dim]` before truncation.

    Raises:
        CheckpointError: a tensor is missing or has another shape than the config says.
    """
    z_dim, w_dim, layers = (int(checkpoint.config[key]) for key in ("z_dim", "w_dim", "mapping_layers"))
    graph = GraphBuilder("mapping")
    z = graph.input("z", ir.DataType.FLOAT, ["N", z_dim])
    square = graph.op("Mul", [z, z], "normalize/square")
    axes = graph.constant("normalize/axes", np.array([1], dtype=np.int64))
    mean = graph.op("ReduceMean", [square, axes], "normalize/mean", keepdims=1)
    epsilon = graph.constant("normalize/epsilon", np.array(_EPSILON, dtype=np.float32))
    root = graph.op("Sqrt", [graph.op("Add", [mean, epsilon], "normalize/add")], "normalize/sqrt")
    x = graph.op("Div", [z, root], "normalize/div")
    features = z_dim
    for index in range(layers):
        scope = f"fc{index}"
        weight = checkpoint.tensor(f"mapping.{scope}.weight", w_dim, features) * np.float32(_GAIN)
        bias = checkpoint.tensor(f"mapping.{scope}.bias", w_dim) * np.float32(_GAIN)
        inputs = [x, graph.constant(f"{scope}.weight", weight.T), graph.constant(f"{scope}.bias", bias)]
        x = graph.op("LeakyRelu", [graph.op("Gemm", inputs, f"{scope}/gemm")], f"{scope}/lrelu", alpha=_SLOPE)
        features = w_dim
    return graph.build([(x, "w", ir.DataType.FLOAT, ["N", w_dim])])
