"""The 3x3 convolution of stride 1 by Winograd's minimal filtering F(4x4, 3x3), written in plain ONNX nodes.

A tile of 4x4 outputs reads 6x6 inputs d and is

    Y = A^T [(G g G^T) * (B^T d B)] A,

where * is the element-wise product, so with channels each of the 36 elements is one pointwise convolution over all
tiles. This takes 36 multiplications per tile for each pair of channels instead of the 144 of the direct sum; the
transforms are sums over whole feature maps. Runtimes whose own convolutions are direct sums become faster with many
channels.

The cost: the transformed input and output are 36 / 16 = 2.25 times the feature maps, the transformed weights are 4
times the weights (also in the file), and the error in float32 is about ten times that of the direct sum: up to 5e-5 of
the output's standard deviation at 512 channels, far below one 8-bit level. Float16 is not precise enough.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv 1509.09308, section 4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .graph_builder import GraphBuilder

TILE = 4
"""Outputs of a tile on each axis."""
_REACH = 6
"""Inputs of a tile on each axis, and elements of its transform."""

# G of the paper: transforms the three taps of an axis.
_WEIGHT_TRANSFORM = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)


def winograd_convolve(graph: GraphBuilder, scope: str, x: ir.Value, weight: NDArray[np.float32], size: int) -> ir.Value:
    """Convolve float32 [N, I, size, size] with [O, I, 3, 3], stride 1, padding 1, to [N, O, size, size].

    Args:
        graph: receives the nodes.
        scope: the layer's name; nodes and constants are named under it.
        x: the input.
        weight: in Conv's orientation.
        size: of both axes, a multiple of `TILE`.

    Raises:
        ValueError: the size is not a multiple of `TILE`, or the weight is not 3x3.
    """
    if size % TILE or size <= 0:
        raise ValueError(f"{scope}: size {size} is not a multiple of {TILE}")
    return _Winograd(graph, scope, size // TILE).convolve(x, weight)


def winograd_weights(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return G g G^T for each pair of channels: [O, I, 3, 3] -> float32 [6, 6, O, I], computed in float64.

    Raises:
        ValueError: the weight is not 3x3.
    """
    if weight.ndim != 4 or weight.shape[2:] != (3, 3):
        raise ValueError(f"a weight of shape {list(weight.shape)} is not [O, I, 3, 3]")
    transform = _WEIGHT_TRANSFORM
    exact = np.einsum("ik,ockl,jl->ijoc", transform, weight.astype(np.float64), transform, optimize=True)
    return np.asarray(exact, dtype=np.float32)


class _Winograd:
    """Adds one layer to a graph; `tiles` is the number of tiles on each axis."""

    def __init__(self, graph: GraphBuilder, scope: str, tiles: int) -> None:
        self._graph = graph
        self._scope = scope
        self._tiles = tiles
        self._integers: dict[int, ir.Value] = {}
        self._factors: dict[int, ir.Value] = {}

    def convolve(self, x: ir.Value, weight: NDArray[np.float32]) -> ir.Value:
        graph, scope, each = self._graph, self._scope, range(_REACH)
        outputs, inputs = weight.shape[:2]
        kernels = winograd_weights(weight).reshape(_REACH, _REACH, outputs, inputs, 1, 1)
        # One zero in front for the padding; at the end, enough to make the strided slices of all six equally long.
        pads = graph.integers(f"{scope}.pads", [0, 0, 1, 1, 0, 0, TILE - 1, TILE - 1])
        x = graph.op("Pad", [x, pads], f"{scope}/pad")
        # One axis at a time: the six rows of a tile share one transform of columns. Columns go first, because their
        # slices gather single values; the 36 slices that follow are of whole rows.
        columns = self._enter(self._slices(x, "column", axis=3), "column")
        tiles = [self._enter(self._slices(columns[j], f"column{j}/row", axis=2), f"column{j}/row") for j in each]
        products = [[self._multiply(tiles[j][i], kernels[i, j], f"{i}{j}") for i in each] for j in each]
        rows = [self._leave(products[j], f"product{j}/row") for j in each]
        phases = [self._leave([rows[j][i] for j in each], f"phase{i}") for i in range(TILE)]
        x = graph.op("Concat", [value for row in phases for value in row], f"{scope}/phases", axis=1)
        return graph.op("DepthToSpace", [x], f"{scope}/shuffle", blocksize=TILE, mode="DCR")

    def _slices(self, x: ir.Value, name: str, *, axis: int) -> list[ir.Value]:
        """Return each of a tile's six samples along one axis, for all tiles."""
        length = TILE * (self._tiles - 1) + 1
        along, step = self._integer(axis), self._integer(TILE)
        return [
            self._graph.op(
                "Slice",
                [x, self._integer(start), self._integer(start + length), along, step],
                f"{self._scope}/{name}{start}",
            )
            for start in range(_REACH)
        ]

    def _multiply(self, x: ir.Value, kernel: NDArray[np.float32], name: str) -> ir.Value:
        """Multiply one element of the transform, for all tiles and channels."""
        weight = self._graph.constant(f"{self._scope}.weight{name}", kernel)
        return self._graph.op("Conv", [x, weight], f"{self._scope}/product{name}")

    def _enter(self, d: Sequence[ir.Value], name: str) -> list[ir.Value]:
        """Return B^T d along one axis, six values to six; common terms are computed once.

        4 d0 - 5 d2 + d4, (d4 - 4 d2) +- (d3 - 4 d1), (d4 - d2) +- 2 (d3 - d1), 4 d1 - 5 d3 + d5
        """
        s = _Sums(self._graph, f"{self._scope}/{name}", self._factor)
        wide_even, wide_odd = s.sub(d[4], s.times(4, d[2])), s.sub(d[3], s.times(4, d[1]))
        even, odd = s.sub(d[4], d[2]), s.sub(d[3], d[1])
        double = s.times(2, odd)
        return [
            s.add(s.times(4, s.sub(d[0], d[2])), even),
            s.add(wide_even, wide_odd),
            s.sub(wide_even, wide_odd),
            s.add(even, double),
            s.sub(even, double),
            s.sub(s.sub(d[5], d[3]), s.times(4, odd)),
        ]

    def _leave(self, m: Sequence[ir.Value], name: str) -> list[ir.Value]:
        """Return A^T m along one axis, six values to four; common terms are computed once.

        m0 + (m1 + m2) + (m3 + m4), (m1 - m2) + 2 (m3 - m4), (m1 + m2) + 4 (m3 + m4), (m1 - m2) + 8 (m3 - m4) + m5
        """
        s = _Sums(self._graph, f"{self._scope}/{name}", self._factor)
        near, near_odd = s.add(m[1], m[2]), s.sub(m[1], m[2])
        far, far_odd = s.add(m[3], m[4]), s.sub(m[3], m[4])
        return [
            s.add(s.add(m[0], near), far),
            s.add(near_odd, s.times(2, far_odd)),
            s.add(near, s.times(4, far)),
            s.add(s.add(near_odd, s.times(8, far_odd)), m[5]),
        ]

    def _integer(self, value: int) -> ir.Value:
        if value not in self._integers:
            self._integers[value] = self._graph.integers(f"{self._scope}.integer{value}", [value])
        return self._integers[value]

    def _factor(self, value: int) -> ir.Value:
        if value not in self._factors:
            constant = np.array(value, dtype=np.float32)
            self._factors[value] = self._graph.constant(f"{self._scope}.factor{value}", constant)
        return self._factors[value]


class _Sums:
    """Adds sums and multiples of whole tensors to a graph, numbered under one name."""

    def __init__(self, graph: GraphBuilder, name: str, factor: Callable[[int], ir.Value]) -> None:
        self._graph = graph
        self._name = name
        self._factor = factor
        self._count = 0

    def add(self, left: ir.Value, right: ir.Value) -> ir.Value:
        return self._op("Add", left, right)

    def sub(self, left: ir.Value, right: ir.Value) -> ir.Value:
        return self._op("Sub", left, right)

    def times(self, factor: int, value: ir.Value) -> ir.Value:
        return self._op("Mul", value, self._factor(factor))

    def _op(self, op_type: str, left: ir.Value, right: ir.Value) -> ir.Value:
        self._count += 1
        return self._graph.op(op_type, [left, right], f"{self._name}/{op_type.lower()}{self._count}")
