"""Simulates a float16 graph on a machine that cannot compute in float16.

ONNX Runtime has no float16 kernels on most CPUs: it computes large parts of such a graph in float32, so a run there
proves that the graph is valid, but does not test its range. The simulator rewrites the graph and runs it in ONNX
Runtime: every float16 tensor is rounded to float16 after the node that makes it, to infinity beyond 65,504. Arithmetic
inside a node is float32, as in tensor cores, which sum in float32.

    float16 graph -> float32 graph, Cast to float16 and back after each node -> picture, and the range of each tensor
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nonesuch.engine.backends.onnxruntime import inference_session
from nonesuch.engine.errors import ExportMismatchError
from nonesuch.engine.session import SessionOptions

MIN_PSNR_DB = 40.0
"""A mean error of 1 % of the visible range; 60 dB and more was measured for networks that fit float16."""
_PEAK, _SQUARES = "peak of ", "squares of "


@dataclass(frozen=True)
class Fp16Run:
    """One simulated batch.

    Attributes:
        image: the graph's output.
        peaks: the largest magnitude of each float16 tensor by name, in graph order.
        overflowed: names of the float16 tensors with an infinity or a NaN, in graph order.
    """

    image: NDArray[Any]
    peaks: Mapping[str, float]
    overflowed: tuple[str, ...]

    def check(self, expected: NDArray[np.float32]) -> float:
        """Compare the picture with the float32 graph's, both unclamped floats; return the PSNR in dB.

        Raises:
            ExportMismatchError: a tensor overflowed, even if a clamp hides it in the picture, or the PSNR is below
                MIN_PSNR_DB.
        """
        if self.overflowed:
            first, *more = self.overflowed
            others = f" and {len(more)} more" if more else ""
            raise ExportMismatchError(f"float16 cannot hold {first!r}{others}: infinite or NaN; export fp32 instead")
        psnr = float_psnr_db(self.image, expected)
        if not psnr >= MIN_PSNR_DB:
            raise ExportMismatchError(
                f"the float16 picture has a PSNR of {psnr:.1f} dB against float32 (at least {MIN_PSNR_DB:.0f}); "
                "export fp32 instead"
            )
        return psnr


class Fp16Simulator:
    """Runs a graph with float16 tensors as float16 hardware would."""

    def __init__(self, model: onnx.ModelProto, threads: int | None = None) -> None:
        """Rewrite a copy of the graph; `model` is not changed.

        Raises:
            ExportMismatchError: the graph has no float16 tensor.
        """
        rewritten, self._tensors = _rewrite(model)
        if not self._tensors:
            raise ExportMismatchError("the graph has no float16 tensor, so there is nothing to simulate")
        self._session = inference_session(rewritten.SerializeToString(), SessionOptions(threads=threads))

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> Fp16Run:
        """Run one batch; `inputs` are the graph's inputs by name."""
        image, *ranges = self._session.run(None, dict(inputs))
        peaks, squares = ranges[: len(self._tensors)], ranges[len(self._tensors) :]
        return Fp16Run(
            image=image,
            peaks={name: float(peak) for name, peak in zip(self._tensors, peaks, strict=True)},
            # The sum of squares of 2^31 values of 65,504 fits float32, so it is infinite or NaN only if a value is.
            # A maximum may skip a NaN.
            overflowed=tuple(
                name for name, total in zip(self._tensors, squares, strict=True) if not np.isfinite(total)
            ),
        )


def float_psnr_db(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return the peak signal-to-noise ratio in dB of two unclamped float pictures with the visible range -1 to 1."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(4 / error))


def _rewrite(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """Return the float32 graph with roundings, and the names of the tensors that were float16."""
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    half = {
        value.name
        for value in [*typed.graph.value_info, *typed.graph.output]
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16
    }
    nodes: list[onnx.NodeProto] = []
    tensors: list[str] = []
    for original in model.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        nodes.append(node)
        for position, name in enumerate(original.output):
            if name not in half:
                continue
            exact, rounded = f"exact {name}", f"rounded {name}"
            node.output[position] = exact
            tensors.append(name)
            nodes += [
                helper.make_node("Cast", [exact], [rounded], f"round {name}", to=TensorProto.FLOAT16),
                helper.make_node("Cast", [rounded], [name], f"widen {name}", to=TensorProto.FLOAT),
                helper.make_node("Abs", [name], [f"magnitude of {name}"], f"magnitude of {name}"),
                helper.make_node("ReduceMax", [f"magnitude of {name}"], [_PEAK + name], _PEAK + name, keepdims=0),
                helper.make_node("ReduceSumSquare", [name], [_SQUARES + name], _SQUARES + name, keepdims=0),
            ]
        if original.op_type == "Cast" and original.output[0] in half:
            node.attribute[0].i = TensorProto.FLOAT
    initializers = []
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
        initializers.append(tensor)
    outputs = [
        helper.make_tensor_value_info(kind + name, TensorProto.FLOAT, [])
        for kind in (_PEAK, _SQUARES)
        for name in tensors
    ]
    graph = helper.make_graph(nodes, model.graph.name, model.graph.input, [*model.graph.output, *outputs], initializers)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version), tensors
