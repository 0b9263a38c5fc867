"""Compares leaky ReLU between two resamplings with its definition: zeros, padding, convolution, activation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from nonesuch.engine.errors import UnsupportedError
from nonesuch.export.graphs.filtered_lrelu import FORMS, FilteredLrelu
from nonesuch.export.graphs.fp16_typing import ComputeType
from nonesuch.export.graphs.graph_builder import GraphBuilder
from nonesuch.export.graphs.resampling import Resampling

RunGraph = Callable[..., NDArray[Any]]
CHANNELS = 3
CLAMP = 0.8


@dataclass(frozen=True)
class Case:
    size: int
    up: int
    down: int
    up_taps: int
    down_taps: int
    padding: tuple[int, int]
    radial: bool = False

    @property
    def resampling(self) -> Resampling:
        """The resampling, with asymmetric filters, so that a flipped one is detected."""
        random = np.random.RandomState(0)
        down = random.randn(*[self.down_taps] * (2 if self.radial else 1))
        up = random.randn(self.up_taps)
        return Resampling(self.up, self.down, up / np.linalg.norm(up), down / np.linalg.norm(down), self.padding)


CASES = [
    Case(10, 2, 2, 12, 12, (9, 8)),  # a layer of StyleGAN3-T
    Case(10, 2, 2, 12, 12, (11, 10), radial=True),  # of -R
    Case(24, 2, 2, 12, 12, (-11, -12)),  # the last crop
    Case(24, 2, 2, 12, 12, (-8, -9), radial=True),
    Case(14, 4, 2, 24, 12, (-6, -9)),  # where the rate doubles
    Case(14, 4, 2, 24, 12, (-2, -5), radial=True),
    Case(9, 4, 2, 23, 11, (5, 3)),
    Case(9, 4, 2, 7, 5, (-3, 2), radial=True),
    Case(11, 2, 2, 5, 7, (1, 3)),  # odd filters, and a middle whose length is odd
    Case(11, 2, 2, 5, 7, (-3, 2), radial=True),
    Case(12, 3, 3, 7, 8, (4, -5)),
    Case(10, 6, 3, 9, 6, (2, -7)),
    Case(8, 1, 1, 3, 4, (1, 1)),
    Case(8, 2, 1, 6, 1, (2, 3)),
]


def by_definition(x: NDArray[np.float64], resampling: Resampling, clamp: float | None) -> NDArray[np.float64]:
    """Compute the definition in float64."""

    def along(x: NDArray[np.float64], axis: int, kernel: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.apply_along_axis(np.convolve, axis, x, kernel, mode="valid")

    for axis in (2, 3):
        x = np.moveaxis(x, axis, -1)
        stuffed = np.zeros((*x.shape, resampling.up))
        stuffed[..., 0] = x
        stuffed = stuffed.reshape(*x.shape[:-1], -1)
        before, after = resampling.padding
        stuffed = np.pad(stuffed, [(0, 0)] * 3 + [(max(before, 0), max(after, 0))])
        stuffed = stuffed[..., max(-before, 0) : stuffed.shape[-1] - max(-after, 0)]
        x = along(np.moveaxis(stuffed, -1, axis), axis, resampling.up_filter * resampling.up)
    x = np.where(x < 0, 0.2 * x, x)
    if clamp is not None:
        x = x.clip(-clamp, clamp)
    fir, down = resampling.down_filter, resampling.down
    if fir.ndim == 1:
        x = along(along(x, 2, fir), 3, fir)
    else:
        windows = np.lib.stride_tricks.sliding_window_view(x, fir.shape, axis=(2, 3))
        x = np.einsum("nchwyx,yx->nchw", windows, np.flip(fir))
    return x[:, :, ::down, ::down]


def build(case: Case, form: str, clamp: float | None) -> ir.Model:
    graph = GraphBuilder("activation")
    x = graph.input("x", ir.DataType.FLOAT, ["N", CHANNELS, case.size, case.size])
    activation = FilteredLrelu(graph, form, clamp)
    y = activation.apply("layer", x, CHANNELS, case.size, case.resampling, ComputeType(graph, "fp32"))
    out = case.resampling.output_size(case.size)
    return graph.build([(y, "y", ir.DataType.FLOAT, ["N", CHANNELS, out, out])])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_form_matches_the_definition(case: Case, form: str, run_graph: RunGraph) -> None:
    x = np.random.RandomState(1).randn(2, CHANNELS, case.size, case.size)
    expected = by_definition(x, case.resampling, CLAMP)
    # The case is meaningful: the clamp acts, and there is more than one sample.
    assert np.abs(expected - by_definition(x, case.resampling, None)).max() > 0.001
    assert expected.shape[-1] > 1
    found = run_graph(build(case, form, CLAMP), x=x.astype(np.float32))
    assert found.shape == expected.shape
    # Sums of a few hundred float32 products of about 1: 1e-6 where it was measured.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_without_a_clamp_nothing_is_clamped(form: str, run_graph: RunGraph) -> None:
    x = 1000 * np.random.RandomState(1).randn(1, CHANNELS, CASES[0].size, CASES[0].size)
    found = run_graph(build(CASES[0], form, None), x=x.astype(np.float32))
    np.testing.assert_allclose(found, by_definition(x, CASES[0].resampling, None), rtol=0, atol=1e-2)


def test_equal_factors_need_no_shuffle() -> None:
    """The polyphase form is fast because its phases stay separate."""
    operators = {node.op_type for node in build(CASES[0], "polyphase", CLAMP).graph}
    assert operators == {"Conv", "LeakyRelu", "Clip", "Add"}
    assert "DepthToSpace" in {node.op_type for node in build(CASES[4], "polyphase", CLAMP).graph}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_operator_has_negative_padding(case: Case, form: str) -> None:
    for node in build(case, form, CLAMP).graph:
        if "pads" in node.attributes:
            assert min(node.attributes["pads"].as_ints()) >= 0, node.name


def test_unsupported_padding_of_the_transposed_form_is_refused(run_graph: RunGraph) -> None:
    case = Case(10, 2, 2, 4, 4, (5, 6))
    with pytest.raises(UnsupportedError, match="'transposed' cannot pad layer this far; use 'polyphase'"):
        build(case, "transposed", CLAMP)
    x = np.random.RandomState(1).randn(1, CHANNELS, case.size, case.size)
    found = run_graph(build(case, "polyphase", CLAMP), x=x.astype(np.float32))
    np.testing.assert_allclose(found, by_definition(x, case.resampling, CLAMP), rtol=0, atol=1e-5)
