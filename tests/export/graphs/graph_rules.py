"""Rules for every graph, so that it runs in any runtime with any batch size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

FORBIDDEN = {
    *("Shape", "Size", "NonZero", "ConstantOfShape", "Expand", "Tile", "Range"),  # shape-derived values
    *("Loop", "If", "Scan", "SequenceMap"),  # control flow
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"),
    "Resize",  # not exact at the border
}
# Batched products may round differently with the batch size. This one has a matrix per sample, so runtimes compute
# samples one by one; tests/engine/backends/test_cpu_runtimes.py and tests/test_parity.py check that the bits are equal.
PRODUCTS = {"to_img/product"}


def shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def check_rules(model: onnx.ModelProto, inputs: dict[str, list[str | int]], image: Sequence[str | int]) -> None:
    """Check a model; `inputs` are the float32 inputs with their shapes, `image` is the output's shape."""
    onnx.checker.check_model(model, full_check=True)
    graph = model.graph
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert not model.functions
    assert {node.domain for node in graph.node} == {""}

    assert {value.name: shape(value) for value in graph.input} == inputs
    assert {value.type.tensor_type.elem_type for value in graph.input} == {TensorProto.FLOAT}
    assert [(value.name, shape(value)) for value in graph.output] == [("image", list(image))]
    assert all(dims[0] == "N" for dims in inputs.values())
    assert image[0] == "N"

    assert {node.op_type for node in graph.node} & FORBIDDEN == set()
    assert {node.name for node in graph.node if node.op_type == "MatMul"} <= PRODUCTS
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in {"Conv", "ConvTranspose", "Gemm"}:
            assert set(node.input[1:]) <= set(initializers), node.name
        if node.op_type == "Reshape":
            assert node.input[1] in initializers, node.name
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.UINT8:
            assert node.output[0] == "image"

    names = [node.name for node in graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
    values = [name for node in graph.node for name in node.output] + list(initializers)
    assert all(values)
    assert len(set(values)) == len(values)
    read = {name for node in graph.node for name in node.input}
    assert set(initializers) <= read
    assert {value.name for value in graph.input} <= read
    for tensor in initializers.values():
        assert tensor.data_location == TensorProto.DEFAULT
        assert np.isfinite(numpy_helper.to_array(tensor)).all(), tensor.name
