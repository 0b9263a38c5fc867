"""The type of a graph's convolutions and activations, and the casts at its borders.

In an fp16 graph the types are in the graph itself (float16 initializers, Cast nodes), not set by a runtime's builder
flags: TensorRT 11 removed these flags, and the model, not a compiler, defines which parts stay float32.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError

from .graph_builder import GraphBuilder

FP16_CLAMP = 256.0
"""The clamp of activations in float16 if the checkpoint has none: it keeps a normalised convolution of up to 4,608
products below 256 * sqrt(4608) = 17,400, far from float16's 65,504."""


class ComputeType:
    """float32 or float16, according to `precision`; for float32 the casts do nothing."""

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
            raise CheckpointError(f"{name!r} has the value {largest:g}, which is too large for float16; export fp32")
        return self._graph.constant(name, array.astype(np.float16))

    def enter(self, value: ir.Value, name: str) -> ir.Value:
        """Cast float32 to the compute type."""
        return self._graph.op("Cast", [value], name, to=int(ir.DataType.FLOAT16)) if self.half else value

    def leave(self, value: ir.Value, name: str) -> ir.Value:
        """Cast the compute type to float32."""
        return self._graph.op("Cast", [value], name, to=int(ir.DataType.FLOAT)) if self.half else value

    def clip(self, value: ir.Value, name: str, limit: float) -> ir.Value:
        """Clamp a value of the compute type to [-limit, limit]."""
        bounds = [self.constant(f"{name}.{key}", np.array(v)) for key, v in (("low", -limit), ("high", limit))]
        return self._graph.op("Clip", [value, *bounds], name)
