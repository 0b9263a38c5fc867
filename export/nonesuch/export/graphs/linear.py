"""Matrix products of vectors, as Gemm or as 1x1 convolutions, behind one interface.

A vector is [N, C] in the Gemm form and [N, C, 1, 1] in the convolution form. Its features are axis 1 in both, so
element-wise operators, Split and reductions over axis 1 are the same.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .graph_builder import GraphBuilder


class Linear:
    """Adds products to a graph in one of the two forms."""

    def __init__(self, graph: GraphBuilder, form: Literal["gemm", "conv1x1"]) -> None:
        self._graph = graph
        self._convolution = form == "conv1x1"

    def enter(self, matrix: ir.Value, scope: str) -> ir.Value:
        """Convert [N, C] to a vector."""
        return self._unsqueeze(matrix, f"{scope}/enter") if self._convolution else matrix

    def leave(self, vector: ir.Value, scope: str) -> ir.Value:
        """Convert a vector to [N, C]."""
        return self._graph.op("Flatten", [vector], f"{scope}/leave", axis=1) if self._convolution else vector

    def spatial(self, vector: ir.Value, name: str) -> ir.Value:
        """Convert a vector to [N, C, 1, 1], a factor of feature maps."""
        return vector if self._convolution else self._unsqueeze(vector, name)

    def row(self, name: str, array: NDArray[np.float32]) -> ir.Value:
        """Add a constant [C] as a vector of one row, which broadcasts over N."""
        return self._graph.constant(name, array.reshape(1, -1, *([1, 1] if self._convolution else [])))

    def apply(self, x: ir.Value, weight: NDArray[np.float32], bias: NDArray[np.float32], scope: str) -> ir.Value:
        """Map a vector x to x @ weight.T + bias, weight [out, in], bias [out]; constants: `{scope}.weight`, `.bias`."""
        graph = self._graph
        offset = graph.constant(f"{scope}.bias", bias)
        if self._convolution:
            return graph.op(
                "Conv", [x, graph.constant(f"{scope}.weight", weight[:, :, None, None]), offset], f"{scope}/conv1x1"
            )
        return graph.op("Gemm", [x, graph.constant(f"{scope}.weight", weight.T), offset], f"{scope}/gemm")

    def _unsqueeze(self, x: ir.Value, name: str) -> ir.Value:
        return self._graph.op("Unsqueeze", [x, self._graph.integers(f"{name}.axes", [2, 3])], name)
