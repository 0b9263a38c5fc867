"""The input of StyleGAN3: waves of random frequencies, which a style and the user can rotate and shift.

    w -> affine -> rotation, translation;   transform [N, 3, 3] is the user's, applied before both
    frequencies and phases, transformed -> sin on a grid of points -> amplitude -> 1x1 convolution

Source: Karras et al., "Alias-Free Generative Adversarial Networks", arXiv 2106.12423, section 3.1 and appendix F.

Everything that depends on the sample uses element-wise operators: they give a sample the same bits in any batch, unlike
small batched matrix products. All of it is float32, because phases need the mantissa.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError

from .graph_builder import GraphBuilder


class FourierInput:
    """Adds the input layer to a graph.

    Raises:
        CheckpointError: the bandwidth is not below half the sampling rate, so frequencies would alias.
    """

    def __init__(self, graph: GraphBuilder, size: int, sampling_rate: float, bandwidth: float) -> None:
        if not 0 <= bandwidth < sampling_rate / 2:
            raise CheckpointError(
                f"the input has bandwidth {bandwidth:g} at {sampling_rate:g} samples per unit, expected less than half"
            )
        self._graph = graph
        self._size = size
        self._sampling_rate = sampling_rate
        self._bandwidth = bandwidth

    def apply(
        self,
        motion: ir.Value,
        transform: ir.Value,
        frequencies: NDArray[np.float32],
        phases: NDArray[np.float32],
    ) -> ir.Value:
        """Return the waves before the 1x1 convolution, float32 [N, C, size, size].

        Args:
            motion: float32 [N, 4]: cosine and sine of the rotation, then x and y of the translation, all times a common
                positive factor, the norm of the first two.
            transform: float32 [N, 3, 3], homogeneous, applied to the points of the picture before the motion.
            frequencies: [C, 2], in cycles per unit, x first.
            phases: [C], in cycles.
        """
        graph = self._graph
        rows = self._matrix(motion, transform)
        full = 2 * math.pi  # radians from here on
        parts = {
            "x": (frequencies[:, 0] * full)[:, None],
            "y": (frequencies[:, 1] * full)[:, None],
            # Only the last column of the matrix, the translation, changes phases.
            "phases": np.stack([0 * phases, 0 * phases, phases * full], axis=1),
        }
        constants = {name: graph.constant(f"input.{name}", part.astype(np.float32)) for name, part in parts.items()}
        terms = [graph.op("Mul", [constants[n], r], f"input/wave_{n}") for n, r in zip("xy", rows, strict=True)]
        wave = graph.op("Add", [graph.op("Add", terms, "input/wave_xy"), constants["phases"]], "input/wave")
        wave = graph.op("Unsqueeze", [wave, graph.integers("input/wave.axes", [3])], "input/wave_4d")  # [N, C, 3, 1]
        x, y, phase = self._split(wave, "input/wave_split", ["input/fx", "input/fy", "input/phase"], axis=2)
        grid = (np.arange(self._size) + 0.5 - self._size / 2) / self._sampling_rate
        points = grid.astype(np.float32)
        along_x = graph.op("Mul", [x, graph.constant("input.columns", points[None, :])], "input/along_x")
        along_y = graph.op("Mul", [y, graph.constant("input.rows", points[:, None])], "input/along_y")
        # The phase is added to a column, not to the picture: [N, C, size, 1].
        along_y = graph.op("Add", [along_y, phase], "input/along_y_phase")
        angle = graph.op("Add", [along_x, along_y], "input/angle")
        return graph.op("Mul", [graph.op("Sin", [angle], "input/sin"), self._amplitude(x, y)], "input/waves")

    def _matrix(self, motion: ir.Value, transform: ir.Value) -> list[ir.Value]:
        """Return the first two rows, [N, 1, 3] each, of rotation * translation * transform."""
        graph = self._graph
        motion = graph.op("Unsqueeze", [motion, graph.integers("input/motion.axes", [2])], "input/motion_3d")
        raw = self._split(motion, "input/motion_split", [f"input/motion{i}" for i in range(4)], axis=1)
        squares = [graph.op("Mul", [v, v], f"input/square{i}") for i, v in enumerate(raw[:2])]
        norm = graph.op("Sqrt", [graph.op("Add", squares, "input/norm_square")], "input/norm")
        names = ("motion_cos", "motion_sin", "motion_x", "motion_y")
        cosine, sine, x, y = (graph.op("Div", [v, norm], f"input/{n}") for n, v in zip(names, raw, strict=True))
        first, second, third = self._split(transform, "input/transform", [f"input/row{i}" for i in range(3)], axis=1)

        def product(name: str, *factors: ir.Value) -> ir.Value:
            return graph.op("Mul", factors, f"input/{name}")

        # R = [[c, -s], [s, c]] and a translation by (-x, -y): its last column is R (-x, -y).
        column0 = graph.op("Sub", [product("sy", sine, y), product("cx", cosine, x)], "input/column0")
        column1 = graph.op("Add", [product("sx", sine, x), product("cy", cosine, y)], "input/column1")  # negated
        turned0 = graph.op("Sub", [product("c0", cosine, first), product("s1", sine, second)], "input/turned0")
        turned1 = graph.op("Add", [product("s0", sine, first), product("c1", cosine, second)], "input/turned1")
        return [
            graph.op("Add", [turned0, product("moved0", column0, third)], "input/matrix0"),
            graph.op("Sub", [turned1, product("moved1", column1, third)], "input/matrix1"),
        ]

    def _amplitude(self, x: ir.Value, y: ir.Value) -> ir.Value:
        """Return [N, C, 1, 1] for frequencies in radians: 1 within the band, falling to 0 at half the sampling rate."""
        graph = self._graph
        squares = [graph.op("Mul", [v, v], f"input/{n}_square") for n, v in (("fx", x), ("fy", y))]
        norm = graph.op("Sqrt", [graph.op("Add", squares, "input/frequency_square")], "input/frequency")
        slope = 1 / (self._sampling_rate / 2 - self._bandwidth)
        numbers = {"slope": slope / (2 * math.pi), "top": 1 + slope * self._bandwidth, "low": 0.0, "high": 1.0}
        constants = {n: graph.constant(f"input.{n}", np.array(v, dtype=np.float32)) for n, v in numbers.items()}
        fall = graph.op("Mul", [norm, constants["slope"]], "input/fall")
        linear = graph.op("Sub", [constants["top"], fall], "input/amplitude_linear")
        return graph.op("Clip", [linear, constants["low"], constants["high"]], "input/amplitude")

    def _split(self, x: ir.Value, name: str, outputs: list[str], axis: int) -> list[ir.Value]:
        sizes = self._graph.integers(f"{name}.sizes", [1] * len(outputs))
        return list(self._graph.ops("Split", [x, sizes], name, outputs, axis=axis))
