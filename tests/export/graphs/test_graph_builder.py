from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from nonesuch.export.graphs.graph_builder import IR_VERSION, OPSET, GraphBuilder


def small_model() -> ir.Model:
    graph = GraphBuilder("small")
    x = graph.input("x", ir.DataType.FLOAT, ["N", 2])
    y = graph.op("Add", [x, graph.constant("one", np.ones(2, np.float32))], "scope/add")
    return graph.build([(y, "y", ir.DataType.FLOAT, ["N", 2])])


def test_names_types_and_versions_are_as_declared() -> None:
    proto = ir.to_proto(small_model())
    assert proto.ir_version == IR_VERSION
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", OPSET)]
    assert [node.name for node in proto.graph.node] == ["scope/add"]
    assert [value.name for value in proto.graph.output] == ["y"]
    assert [tensor.name for tensor in proto.graph.initializer] == ["one"]


@pytest.mark.parametrize("again", ["x", "one", "scope/add"])
def test_a_name_is_used_once(again: str) -> None:
    graph = GraphBuilder("small")
    x = graph.input("x", ir.DataType.FLOAT, ["N", 2])
    graph.op("Add", [x, graph.constant("one", np.ones(2, np.float32))], "scope/add")
    with pytest.raises(ValueError, match="is already used in graph 'small'"):
        graph.constant(again, np.ones(1, np.float32))


def test_a_constant_may_be_a_view() -> None:
    graph = GraphBuilder("small")
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    value = graph.constant("t", array.T)
    assert value.const_value is not None
    np.testing.assert_array_equal(value.const_value.numpy(), array.T)
