"""Weight modulation and demodulation, written on the activations so that one static weight serves every batch.

    w'_oik = w_oik * s_i,  d_o = 1 / sqrt(sum_ik w'^2 + eps),  y = conv(x, w' * d)      (the paper)
           = d_o * conv(s_i * x, w),  d = 1 / sqrt(s^2 @ Wsq.T + eps),  Wsq_oi = sum_k w_oik^2      (here)

Source: Karras et al., arXiv 1912.04958, section 2.2, equations 1 to 3. The two are equal: s and d are factors of input
and output channels. No weight depends on the batch, so the batch size is free and any runtime can pack the weights.

In float16 the weight of each output channel is divided by its largest value times sqrt(fan_in), and a style by its
largest value: then with inputs clamped to +-256 no sum can overflow. The demodulation is computed from the divided
pair, so the divisors cancel; without it they are multiplied back in float32. Source: arXiv 2006.06676,
appendix D.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .fp16_typing import ComputeType
from .graph_builder import GraphBuilder
from .linear import Linear

_EPSILON = 1e-8
_MIN_PEAK = 1e-12
"""A style below this in all channels counts as zero; it prevents 0 / 0."""


@dataclass(frozen=True)
class Modulated:
    """The parts of a modulated convolution without demodulation.

    Attributes:
        weight: float32 [O, I, k, k] for the convolution.
        style: [N, I, 1, 1] of the compute type, a factor of the convolution's input.
        scale: float32 [N, O, 1, 1], a factor of its output; None in float32 graphs, which need none.
    """

    weight: NDArray[np.float32]
    style: ir.Value
    scale: ir.Value | None


@dataclass(frozen=True)
class Demodulated:
    """The parts of a modulated convolution with demodulation.

    Attributes:
        weight: float32 [O, I, k, k] for the convolution.
        style: [N, I, 1, 1] of the compute type, a factor of the convolution's input.
        scale: [N, O, 1, 1] of the compute type, a factor of its output.
    """

    weight: NDArray[np.float32]
    style: ir.Value
    scale: ir.Value


class Modulator:
    """Writes the parts that depend on styles."""

    def __init__(self, graph: GraphBuilder, compute: ComputeType, linear: Linear) -> None:
        self._graph = graph
        self._compute = compute
        self._linear = linear

    def demodulated(self, scope: str, style: ir.Value, weight: NDArray[np.float32], gain: float = 1.0) -> Demodulated:
        """With demodulation; `scale` also has the positive factor `gain`.

        Args:
            scope: the layer's name.
            style: float32 vector of I features.
            weight: [O, I, k, k], from which the demodulation is computed.
            gain: of the layer's output: that of its activation, for one.
        """
        if self._compute.half:
            style, _ = self._normalize(scope, style)
            weight = weight / _norms(weight)[:, None, None, None]
        # gain / sqrt(q + eps) = 1 / sqrt(q / gain^2 + eps / gain^2): the gain costs nothing.
        energy = np.square(weight, dtype=np.float64).sum(axis=(2, 3)) / gain**2
        epsilon = np.full(len(energy), _EPSILON / gain**2, dtype=np.float32)
        square = self._graph.op("Mul", [style, style], f"{scope}/style_square")
        total = self._linear.apply(square, energy.astype(np.float32), epsilon, f"{scope}.demodulation")
        root = self._graph.op("Sqrt", [total], f"{scope}/demodulation_sqrt")
        scale = self._graph.op("Reciprocal", [root], f"{scope}/demodulation")
        return Demodulated(weight, self._factor(scope, "style", style), self._factor(scope, "scale", scale))

    def plain(self, scope: str, style: ir.Value, weight: NDArray[np.float32], gain: float = 1.0) -> Modulated:
        """Without demodulation, as the RGB heads are; `gain` is a factor of the output."""
        if not self._compute.half:
            return Modulated(weight * np.float32(gain), self._linear.spatial(style, f"{scope}/style_spatial"), None)
        style, peak = self._normalize(scope, style)
        norms = _norms(weight)
        factor = self._linear.row(f"{scope}.norms", (norms * gain).astype(np.float32))
        scale = self._graph.op("Mul", [peak, factor], f"{scope}/scale")
        return Modulated(
            weight / norms[:, None, None, None],
            self._factor(scope, "style", style),
            self._linear.spatial(scale, f"{scope}/scale_spatial"),
        )

    def _normalize(self, scope: str, style: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The style divided by its largest magnitude, and that magnitude, a vector of one feature, per sample."""
        graph = self._graph
        magnitude = graph.op("Abs", [style], f"{scope}/style_magnitude")
        axes = graph.integers(f"{scope}.style_axes", [1])
        peak = graph.op("ReduceMax", [magnitude, axes], f"{scope}/style_max", keepdims=1)
        smallest = graph.constant(f"{scope}.style_smallest", np.array(_MIN_PEAK, dtype=np.float32))
        peak = graph.op("Max", [peak, smallest], f"{scope}/style_peak")
        return graph.op("Div", [style, peak], f"{scope}/style_normalized"), peak

    def _factor(self, scope: str, kind: str, vector: ir.Value) -> ir.Value:
        typed = self._compute.enter(vector, f"{scope}/{kind}_typed")
        return self._linear.spatial(typed, f"{scope}/{kind}_spatial")


def _norms(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """[O]: the largest weight of each output channel times sqrt(fan_in); 1 where all are zero."""
    peaks = np.abs(weight).max(axis=(1, 2, 3)) * np.float32(weight[0].size ** 0.5)
    return np.where(peaks > 0, peaks, np.float32(1)).astype(np.float32)
