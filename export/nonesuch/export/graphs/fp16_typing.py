"""The type in which a graph's convolutions and activations run, and the casts at its borders.

In an fp16 graph the types are in the graph itself (float16 initializers, Cast nodes), not left to a runtime's builder
flags: TensorRT 11 has no such flags any more, and what stays float32 is part of the model, not of a compiler's taste.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError

from .graph_builder import GraphBuilder

__all__ = ["FP16_CLAMP", "ComputeType"]

FP16_CLAMP = 256.0
"""The clamp of activations in float16 where the checkpoint has none: with it a normalised convolution of up to 4,608
products stays below 256 * sqrt(4608) = 17,400, far from float16's 65,504."""


class ComputeType:
    """float32 or float16, as `precision` says; for float32 every cast is nothing."""

    def __init__(self, graph: GraphBuilder, precision: Literal["fp32", "fp16"]) -> None:
        self._graph = graph
        self.half = precision == "fp16"

    def constant(self, name: str, array: NDArray[np.floating]) -> ir.Value:
        """Add an initializer of the compute type.

        Raises:
            CheckpointError: a value is too large for float16.
        """
        if not self.half:
            return self._graph.constant(name, array.astype(np.float32))
        largest = float(np.abs(array).max(initial=0))
        if not largest <= float(np.finfo(np.float16).max):
            raise CheckpointError(f"{name!r} has the value {largest:g}, which float16 cannot hold; export fp32")
        return self._graph.constant(name, array.astype(np.float16))

    def enter(self, value: ir.Value, name: str) -> ir.Value:
        """float32 -> the compute type."""
        return self._graph.op("Cast", [value], name, to=int(ir.DataType.FLOAT16)) if self.half else value

    def leave(self, value: ir.Value, name: str) -> ir.Value:
        """The compute type -> float32."""
        return self._graph.op("Cast", [value], name, to=int(ir.DataType.FLOAT)) if self.half else value

    def clip(self, value: ir.Value, name: str, limit: float) -> ir.Value:
        """Clamp a value of the compute type to +-limit."""
        bounds = [self.constant(f"{name}.{key}", np.array(v)) for key, v in (("low", -limit), ("high", limit))]
        return self._graph.op("Clip", [value, *bounds], name)
