from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nonesuch.benchmarks.result import BenchmarkError
from nonesuch.benchmarks.speed import graph_gflop
from nonesuch.engine.artifact import Artifact


def graph(op: str, weight: tuple[int, ...], x: list[int | str], **attributes: Any) -> bytes:
    """A model of one node with a constant weight."""
    node = helper.make_node(op, ["x", "w"], ["y"], **attributes)
    made = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros(weight, np.float32), "w")],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("model", "flop"),
    [
        # 8 x 5 x 5 outputs, each a sum of 4 x 3 x 3 products.
        (graph("Conv", (8, 4, 3, 3), ["n", 4, 5, 5], pads=[1, 1, 1, 1]), 2 * 8 * 25 * 36),
        # Depthwise: each output is a sum of 9.
        (graph("Conv", (4, 1, 3, 3), ["n", 4, 5, 5], pads=[1, 1, 1, 1], group=4), 2 * 4 * 25 * 9),
        # Stride 2: a quarter of the outputs.
        (graph("Conv", (8, 4, 1, 1), ["n", 4, 6, 6], strides=[2, 2]), 2 * 8 * 9 * 4),
        # Each of 4 x 5 x 5 inputs is spread over 8 x 2 x 2.
        (graph("ConvTranspose", (4, 8, 2, 2), ["n", 4, 5, 5], strides=[2, 2]), 2 * 100 * 32),
        (graph("MatMul", (6, 7), ["n", 6]), 2 * 6 * 7),
        (graph("Gemm", (7, 6), ["n", 6], transB=1), 2 * 6 * 7),
        (graph("Add", (6,), ["n", 6]), 0),
    ],
)
def test_each_kind_of_layer_is_counted_for_one_image(model: bytes, flop: int) -> None:
    assert graph_gflop(model) * 1e9 == pytest.approx(flop)


def test_a_models_arithmetic_is_at_least_that_of_its_convolutions(artifact: Artifact) -> None:
    found = graph_gflop(artifact.read(artifact.manifest.variants[0].file)) * 1e9
    # conv1 at 4x4, then (depthwise, pointwise) twice at 8x8 and at 16x16, then to_img.
    macs = 16 * 16 * 9 * 16
    for size, wide, out in ((8, 16, 8), (16, 8, 4)):
        macs += size * size * (wide // 4 * 9 + wide // 4 * out + out * 9 + out * out)
    macs += 16 * 16 * 4 * 12
    # Styles (some 50 rows of 12) and the wavelet transform come on top.
    assert 2 * macs <= found <= 2 * macs * 1.5


def test_a_shape_that_nobody_knows_is_an_error() -> None:
    model = onnx.load_from_string(graph("MatMul", (6, 7), ["n", 6]))
    model.graph.node[0].op_type, model.graph.node[0].domain = "MatMul", ""
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "unknown"
    with pytest.raises(BenchmarkError, match="cannot be inferred"):
        graph_gflop(model.SerializeToString())
