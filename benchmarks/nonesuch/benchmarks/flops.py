"""Arithmetic of a model: the multiplications and additions of its convolutions and matrix products for one image.

Counted from the ONNX graph of one variant, so it is what that graph asks for, with the work that a builder's choices
add (an inverse wavelet transform as a convolution, say). Element-wise work is not counted: it is memory that it costs.
"""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

from .measurement import BenchmarkError

__all__ = ["graph_gflop"]


def graph_gflop(model: bytes) -> float:
    """GFLOP (1e9; a multiply-add is two) of one image, the leading axis of every input taken as 1.

    Raises:
        BenchmarkError: onnx is not installed, or a shape is not known.
    """
    try:
        onnx: Any = import_module("onnx")
    except ImportError as error:
        raise BenchmarkError("counting a graph's arithmetic needs onnx; pip install 'nonesuch[export]'") from error
    proto = onnx.load_from_string(model)
    for value in proto.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del proto.graph.value_info[:]  # of the symbolic batch; inferred again for one image
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        shapes[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    total = sum(_flop(node, shapes) for node in graph.node)
    return total / 1e9


def _flop(node: Any, shapes: dict[str, list[int]]) -> int:
    if node.op_type == "Conv":
        # Each output value is a sum over the weight's [in / groups, k, k].
        return 2 * _count(shapes, node.output[0]) * math.prod(shapes[node.input[1]][1:])
    if node.op_type == "ConvTranspose":
        # Each input value is spread over the weight's [out / groups, k, k].
        return 2 * _count(shapes, node.input[0]) * math.prod(shapes[node.input[1]][1:])
    if node.op_type in {"Gemm", "MatMul"}:
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        inner = _known(shapes, node.input[0])[-2 if transposed else -1]
        return 2 * _count(shapes, node.output[0]) * inner
    return 0


def _count(shapes: dict[str, list[int]], name: str) -> int:
    return math.prod(_known(shapes, name))


def _known(shapes: dict[str, list[int]], name: str) -> list[int]:
    shape = shapes.get(name, [])
    if not shape or not all(shape):
        raise BenchmarkError(f"the shape of {name!r} cannot be inferred from the graph, so its arithmetic is unknown")
    return shape
