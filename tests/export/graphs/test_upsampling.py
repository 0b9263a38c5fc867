from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError
from nonesuch.export.graphs.fp16_typing import ComputeType
from nonesuch.export.graphs.graph_builder import GraphBuilder
from nonesuch.export.graphs.upsampling import FORMS, Upsampler, polyphase

from .paper_stylegan2 import upsample, upsampling_convolution

RunGraph = Callable[..., NDArray[Any]]
FILTERS = [(0.125, 0.375, 0.375, 0.125), (0.7, 0.3), (0.2, 0.3, 0.5), (0.4, 0.3, 0.2, 0.1), (0.1, 0.1, 0.1, 0.2, 0.5)]


def run_form(
    run_graph: RunGraph, form: str, taps: tuple[float, ...], x: NDArray[Any], weight: NDArray[Any] | None
) -> NDArray[Any]:
    graph = GraphBuilder("small")
    value = graph.input("x", ir.DataType.FLOAT, ["N", *x.shape[1:]])
    upsampler, compute = Upsampler(graph, form, taps), ComputeType(graph, "fp32")
    channels = x.shape[1] if weight is None else weight.shape[0]
    if weight is None:
        y = upsampler.resample("up", value, channels, compute)
    else:
        y = upsampler.convolve("up", value, weight.astype(np.float32), compute)
    height, width = 2 * x.shape[2], 2 * x.shape[3]
    model = graph.build([(y, "y", ir.DataType.FLOAT, ["N", channels, height, width])])
    return run_graph(model, x=x.astype(np.float32))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4)])
@pytest.mark.parametrize("taps", FILTERS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_matches_the_definition_up_to_the_border(
    form: str, taps: tuple[float, ...], size: tuple[int, int], run_graph: RunGraph
) -> None:
    random = np.random.RandomState(0)
    x, weight = random.randn(2, 3, *size), random.randn(4, 3, 3, 3)
    # Sums of at most 100 products of values around 1, in float32.
    expected = np.stack([upsample(row, np.array(taps)) for row in x])
    np.testing.assert_allclose(run_form(run_graph, form, taps, x, None), expected, rtol=0, atol=1e-5)
    expected = np.stack([upsampling_convolution(row, weight, np.array(taps)) for row in x])
    np.testing.assert_allclose(run_form(run_graph, form, taps, x, weight), expected, rtol=0, atol=1e-5)


def test_a_constant_stays_the_same_inside(run_graph: RunGraph) -> None:
    """The border is darker, because the paper's filter reads zeros there; Resize would read copies."""
    for form in FORMS:
        found = run_form(run_graph, form, FILTERS[0], np.ones((1, 1, 4, 4)), None)[0, 0]
        np.testing.assert_array_equal(found[1:-1, 1:-1], 1)
        np.testing.assert_array_equal(found[0, 1:-1], 0.75)


def test_phases_of_the_usual_kernels_are_three_taps_wide() -> None:
    phases, padding = polyphase(np.arange(36, dtype=np.float32).reshape(6, 6), 2)
    assert (phases.shape, padding) == ((2, 2, 3, 3), (1, 1))
    # y[2m + a] = K[a + 4 - 2j] x[m - 1 + j]
    np.testing.assert_array_equal(phases[0, 0], [[28, 26, 24], [16, 14, 12], [4, 2, 0]])
    np.testing.assert_array_equal(phases[1, 0], [[34, 32, 30], [22, 20, 18], [10, 8, 6]])
    phases, padding = polyphase(np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32), 1)
    assert padding == (1, 1)
    np.testing.assert_array_equal(phases[0, 0], np.outer([1, 3, 0], [1, 3, 0]))
    np.testing.assert_array_equal(phases[1, 1], np.outer([0, 3, 1], [0, 3, 1]))


def test_a_filter_that_does_not_interpolate_is_refused() -> None:
    with pytest.raises(CheckpointError, match="fewer than two taps"):
        Upsampler(GraphBuilder("small"), "transposed", [1.0])
