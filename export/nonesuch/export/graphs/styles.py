"""The styles, which every layer reads from its index of `ws`.

    ws [N, num_ws, w_dim] -> w of one index -> one product for all affines that read it -> Split -> style vectors

There is one product per index, not one for all: a batched product over indices rounds differently at different N on
some runtimes, and then a picture would depend on the rest of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .graph_builder import GraphBuilder
from .linear import Linear

Affine = tuple[NDArray[np.float32], NDArray[np.float32]]
"""weight [C, w_dim] and bias [C] of the affine map from a w to a style."""


class StyleReader:
    """Reads styles from the input `ws float32 [N, num_ws, w_dim]`; all stay float32."""

    def __init__(self, graph: GraphBuilder, linear: Linear, ws: ir.Value) -> None:
        self._graph = graph
        self._linear = linear
        self._ws = ws

    def read(self, index: int, affines: Mapping[str, Affine]) -> dict[str, ir.Value]:
        """Return the style vectors from `ws[:, index]`, in `Linear`'s form, by the names of `affines`."""
        graph, scope = self._graph, f"ws.{index}"
        joined = self._product(scope, index, affines)
        if len(affines) == 1:
            return dict.fromkeys(affines, joined)
        sizes = graph.integers(f"{scope}.sizes", [len(bias) for _, bias in affines.values()])
        parts = graph.ops("Split", [joined, sizes], f"{scope}/split", [f"{name}/style" for name in affines], axis=1)
        return dict(zip(affines, parts, strict=True))

    def _product(self, scope: str, index: int, affines: Mapping[str, Affine]) -> ir.Value:
        position = self._graph.constant(f"{scope}.index", np.array(index, dtype=np.int64))
        w = self._graph.op("Gather", [self._ws, position], f"{scope}/gather", axis=1)
        weight, bias = (np.concatenate(parts) for parts in zip(*affines.values(), strict=True))
        return self._linear.apply(self._linear.enter(w, scope), weight, bias, scope)
