"""A thin layer over onnx-ir: every node and value is named, constants are typed, nothing is traced.

onnx-ir provides the data model and the serialisation; this file enforces the naming rule (`scope/op`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

OPSET = 18
"""The oldest opset with all operators used; TensorRT 10.3 (JetPack 6) parses it."""
IR_VERSION = 9


class GraphBuilder:
    """Collects nodes, constants and inputs, then builds one `onnx_ir.Model`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._inputs: list[ir.Value] = []
        self._initializers: dict[str, ir.Value] = {}
        self._nodes: list[ir.Node] = []
        self._names: set[str] = set()

    def input(self, name: str, dtype: ir.DataType, shape: Sequence[int | str]) -> ir.Value:
        """Declare a graph input; a string dimension is symbolic."""
        value = ir.Value(name=self._claim(name), type=ir.TensorType(dtype), shape=ir.Shape(shape))
        self._inputs.append(value)
        return value

    def constant(self, name: str, array: NDArray[np.generic]) -> ir.Value:
        """Add an initializer with the dtype and shape of the array."""
        tensor = ir.tensor(np.asarray(array, order="C"), name=self._claim(name))
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
        self._initializers[name] = value
        return value

    def integers(self, name: str, values: Sequence[int]) -> ir.Value:
        """Add an initializer int64 [len(values)]: axes, sizes, targets of Reshape."""
        return self.constant(name, np.array(values, dtype=np.int64))

    def op(self, op_type: str, inputs: Sequence[ir.Value], name: str, **attributes: Any) -> ir.Value:
        """Add a node with one output; node and output carry `name`."""
        return self.ops(op_type, inputs, name, [name], **attributes)[0]

    def ops(
        self, op_type: str, inputs: Sequence[ir.Value], name: str, outputs: Sequence[str], **attributes: Any
    ) -> Sequence[ir.Value]:
        """Add a node with several outputs of the given names."""
        values = [ir.Value(name=self._claim(output)) for output in outputs]
        self._nodes.append(ir.node(op_type, inputs, attributes, outputs=values, name=name))
        return values

    def build(self, outputs: Sequence[tuple[ir.Value, str, ir.DataType, Sequence[int | str]]]) -> ir.Model:
        """Close the graph: each output is (value, public name, dtype, shape)."""
        for value, name, dtype, shape in outputs:
            value.name, value.type, value.shape = name, ir.TensorType(dtype), ir.Shape(shape)
        graph = ir.Graph(
            self._inputs,
            [value for value, *_ in outputs],
            nodes=self._nodes,
            initializers=list(self._initializers.values()),
            opset_imports={"": OPSET},
            name=self._name,
        )
        return ir.Model(graph, ir_version=IR_VERSION, producer_name="nonesuch")

    def _claim(self, name: str) -> str:
        if name in self._names:
            raise ValueError(f"the name {name!r} is already used in graph {self._name!r}")
        self._names.add(name)
        return name


def serialize(model: ir.Model) -> bytes:
    """Serialise with all weights included; maps are sorted, so equal graphs give equal bytes."""
    return bytes(ir.to_proto(model).SerializeToString(deterministic=True))
