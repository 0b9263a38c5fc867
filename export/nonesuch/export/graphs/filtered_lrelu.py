"""Leaky ReLU between an up-sampling and a down-sampling, which prevents aliasing of the new frequencies.

    x -> up-sample (FIR) -> leaky ReLU -> clamp -> down-sample (FIR)

The caller folds the gain of the activation into an earlier layer: leaky ReLU and the filters are homogeneous.
Source: Karras et al., "Alias-Free Generative Adversarial Networks", arXiv 2106.12423, section 3.2 and appendix D.

Two exact forms, in operators that every runtime supports:

- polyphase: each phase of the up-sampled signal is a pair of depthwise convolutions of the input. If both factors are
  equal, as in nearly all layers, the phases stay separate: each goes through the activation, and down-sampling is the
  sum of one ordinary depthwise convolution per phase. Otherwise DepthToSpace interleaves them, and down-sampling is a
  depthwise convolution with stride.
- transposed: depthwise ConvTranspose, one per axis, and depthwise convolutions with stride.

Negative padding becomes a Slice of the input, because runtimes need not support it in operators.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nonesuch.engine.errors import UnsupportedError

from .fp16_typing import ComputeType
from .graph_builder import GraphBuilder
from .resampling import Resampling

FORMS = ("polyphase", "transposed")
"""The names of the forms, the best for a CPU first."""

_SLOPE = 0.2


class FilteredLrelu:
    """Adds the activations of one network to a graph, in one form."""

    def __init__(self, graph: GraphBuilder, form: str, clamp: float | None) -> None:
        self._graph = graph
        self._form = form
        self._clamp = clamp

    def apply(
        self, scope: str, x: ir.Value, channels: int, size: int, resampling: Resampling, compute: ComputeType
    ) -> ir.Value:
        """Map [N, channels, size, size] to [N, channels, out, out], out = `resampling.output_size(size)`.

        Raises:
            UnsupportedError: the form cannot express this padding.
        """
        resampling, start, stop = resampling.trim(size)
        if (start, stop) != (0, size):
            x = self._slice(f"{scope}/trim", x, start, stop)
        layer = _Layer(self._graph, scope, channels, stop - start, resampling, compute, self._clamp)
        if self._form == "transposed":
            return layer.down_strided(layer.activate(layer.up_transposed(x), ""))
        if resampling.up == resampling.down:
            return layer.by_phases(x)
        x = layer.down_strided(layer.up_interleaved(x))
        # The length of the interleaved signal is a multiple of the factor, so there may be one sample too many.
        return x if layer.exact else self._slice(f"{scope}/crop", x, 0, resampling.output_size(stop - start))

    def _slice(self, name: str, x: ir.Value, start: int, stop: int) -> ir.Value:
        ends = [self._graph.integers(f"{name}.{key}", [v, v]) for key, v in (("start", start), ("stop", stop))]
        return self._graph.op("Slice", [x, *ends, self._graph.integers(f"{name}.axes", [2, 3])], name)


class _Layer:
    """The parts of one layer, after its padding is trimmed."""

    def __init__(
        self,
        graph: GraphBuilder,
        scope: str,
        channels: int,
        size: int,
        resampling: Resampling,
        compute: ComputeType,
        clamp: float | None,
    ) -> None:
        self.graph = graph
        self.scope = scope
        self.channels = channels
        self.size = size
        self.resampling = resampling
        self.compute = compute
        self.clamp = clamp
        self.blocks = math.ceil(resampling.middle_size(size) / resampling.up)  # outputs of each phase that are needed
        interleaved = (self.blocks * resampling.up - len(resampling.down_filter)) // resampling.down + 1
        self.exact = interleaved == resampling.output_size(size)

    def by_phases(self, x: ir.Value) -> ir.Value:
        """Up-sample, activate and down-sample with separate phases; the factors are equal."""
        factor = self.resampling.down
        down = self.resampling.down_phases()
        length = self.resampling.output_size(self.size) + down.shape[-1] - 1
        rows = [self.up_phase(x, f"up{a}", [a], length, "rows") for a in range(factor)]
        # Per column phase, so that the rows of a separable filter can be summed first.
        columns: list[ir.Value] = []
        for b in range(factor):
            parts = []
            for a in range(factor):
                part = self.up_phase(rows[a], f"up{a}{b}", [b], length, "columns")
                part = self.activate(part, f"{a}{b}")
                kernel = down[a, b] if down.ndim == 4 else down[a][:, None]
                parts.append(self.depthwise(part, kernel, f"down{a}{b}"))
            column = self.sum(parts, f"down_sum{b}")
            columns.append(column if down.ndim == 4 else self.depthwise(column, down[b][None], f"down{b}"))
        return self.sum(columns, "down_total")

    def up_interleaved(self, x: ir.Value) -> ir.Value:
        """Compute all phases at once, activate, and interleave: [N, C, blocks * up, blocks * up]."""
        factor = self.resampling.up
        phases = list(range(factor))
        x = self.up_phase(x, "up_rows", phases, self.blocks, "rows")
        x = self.up_phase(x, "up_columns", phases, self.blocks, "columns", channels=self.channels * factor)
        x = self.activate(x, "")
        return self.graph.op("DepthToSpace", [x], f"{self.scope}/shuffle", blocksize=factor, mode="CRD")

    def up_phase(
        self, x: ir.Value, name: str, phases: list[int], length: int, axis: str, channels: int | None = None
    ) -> ir.Value:
        """Compute phases of x up-sampled along one axis, `length` samples each, as channels [C, len(phases)]."""
        kernels, first, last = self.resampling.up_phases()
        after = length + last - self.size
        pads = [-first, 0, after, 0] if axis == "rows" else [0, -first, 0, after]
        shaped = kernels[phases][:, :, None] if axis == "rows" else kernels[phases][:, None, :]
        return self.convolve(x, shaped, name, channels or self.channels, pads=pads)

    def up_transposed(self, x: ir.Value) -> ir.Value:
        """Up-sample with two transposed convolutions, which crop."""
        resampling, taps = self.resampling, len(self.resampling.up_filter)
        before = taps - 1 - resampling.padding[0]
        after = taps - resampling.up - resampling.padding[1]
        if min(before, after) < 0:
            raise UnsupportedError(f"up-sampling 'transposed' cannot pad {self.scope} this far; use 'polyphase'")
        kernel = (resampling.up_filter * resampling.up)[None]
        up = resampling.up
        for axis, shaped, strides, pads in (
            ("rows", kernel.swapaxes(0, 1), [up, 1], [before, 0, after, 0]),
            ("columns", kernel, [1, up], [0, before, 0, after]),
        ):
            x = self.convolve(x, shaped[None], f"up_{axis}", self.channels, "ConvTranspose", strides=strides, pads=pads)
        return x

    def down_strided(self, x: ir.Value) -> ir.Value:
        """Down-sample with depthwise convolutions with stride: two if the filter is separable."""
        kernel, down = np.flip(self.resampling.down_filter), self.resampling.down
        if kernel.ndim == 2:
            return self.depthwise(x, kernel, "down", strides=[down, down])
        x = self.depthwise(x, kernel[:, None], "down_rows", strides=[down, 1])
        return self.depthwise(x, kernel[None], "down_columns", strides=[1, down])

    def activate(self, x: ir.Value, suffix: str) -> ir.Value:
        x = self.graph.op("LeakyRelu", [x], f"{self.scope}/lrelu{suffix}", alpha=_SLOPE)
        return x if self.clamp is None else self.compute.clip(x, f"{self.scope}/clamp{suffix}", self.clamp)

    def depthwise(self, x: ir.Value, kernel: NDArray[np.float64], name: str, **attributes: Any) -> ir.Value:
        """Convolve every channel with the same kernel [h, w]."""
        return self.convolve(x, kernel[None], name, self.channels, **attributes)

    def convolve(
        self,
        x: ir.Value,
        kernels: NDArray[np.float64],
        name: str,
        channels: int,
        op_type: str = "Conv",
        **attributes: Any,
    ) -> ir.Value:
        """Convolve every channel with the same kernels [M, h, w]; output channel c * M + m."""
        weight = np.tile(kernels[:, None], (channels, 1, 1, 1))
        constant = self.compute.constant(f"{self.scope}.{name}", weight)
        return self.graph.op(op_type, [x, constant], f"{self.scope}/{name}", group=channels, **attributes)

    def sum(self, values: list[ir.Value], name: str) -> ir.Value:
        total = values[0]
        for index, value in enumerate(values[1:]):
            # The newest value first: ONNX Runtime can then fuse the Add into its convolution.
            total = self.graph.op("Add", [value, total], f"{self.scope}/{name}_{index}")
        return total
