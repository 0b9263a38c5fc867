from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from nonesuch.engine.backends.onnxruntime import inference_session
from nonesuch.engine.backends.openvino import load_openvino
from nonesuch.engine.errors import UnsupportedError
from nonesuch.engine.session import SessionOptions
from nonesuch.export.graphs import stylegan2
from nonesuch.export.graphs.graph_builder import GraphBuilder, serialize
from nonesuch.export.graphs.synthesis_builder import VariantOptions
from nonesuch.export.graphs.winograd import winograd_convolve, winograd_weights

from .graph_rules import check_rules
from .random_stylegan2 import random_stylegan2

# Of the result's standard deviation. The transform multiplies by up to 8 * 8 and subtracts again, so float32 loses two
# digits; 1.3e-4 was measured at 512 channels.
TOLERANCE = 1e-3


def graph(weight: NDArray[np.float32], size: int, *, winograd: bool) -> bytes:
    outputs, inputs = weight.shape[:2]
    builder = GraphBuilder("convolution")
    x = builder.input("x", ir.DataType.FLOAT, ["N", inputs, size, size])
    if winograd:
        y = winograd_convolve(builder, "layer", x, weight, size)
    else:
        y = builder.op("Conv", [x, builder.constant("weight", weight)], "layer/conv", pads=[1, 1, 1, 1])
    return serialize(builder.build([(y, "y", ir.DataType.FLOAT, ["N", outputs, size, size])]))


def run(model: bytes, x: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = inference_session(model, SessionOptions(threads=1)).run(None, {"x": x})[0]
    return found


def run_in_openvino(model: bytes, x: NDArray[np.float32]) -> NDArray[np.float32]:
    core = load_openvino().Core()
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found: NDArray[np.float32] = np.array(compiled([x])[0])
    return found


@pytest.mark.parametrize(("outputs", "inputs", "size"), [(3, 2, 4), (5, 7, 8), (16, 24, 12), (64, 64, 32)])
def test_it_matches_the_convolution_up_to_the_border(outputs: int, inputs: int, size: int) -> None:
    random = np.random.RandomState(outputs)
    weight = (random.randn(outputs, inputs, 3, 3) / (3 * inputs**0.5)).astype(np.float32)
    x = random.randn(3, inputs, size, size).astype(np.float32)
    expected = run(graph(weight, size, winograd=False), x)
    model = graph(weight, size, winograd=True)
    onnx.checker.check_model(model, full_check=True)
    for found in (run(model, x), run_in_openvino(model, x)):
        np.testing.assert_allclose(found, expected, atol=TOLERANCE * expected.std(), rtol=0)


def test_an_image_does_not_depend_on_its_neighbours() -> None:
    random = np.random.RandomState(0)
    model = graph(random.randn(16, 16, 3, 3).astype(np.float32), 16, winograd=True)
    x = random.randn(3, 16, 16, 16).astype(np.float32)
    together = run(model, x)
    for row in range(3):
        np.testing.assert_array_equal(run(model, x[row : row + 1])[0], together[row])


def test_there_are_36_products_instead_of_144() -> None:
    weight = np.ones((2, 2, 3, 3), np.float32)
    products = [
        node for node in onnx.load_from_string(graph(weight, 8, winograd=True)).graph.node if node.op_type == "Conv"
    ]
    assert len(products) == 36
    assert winograd_weights(weight).shape == (6, 6, 2, 2)


def test_a_network_shows_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = random_stylegan2()
    # The widths and sizes of the test's network; real ones take seconds.
    monkeypatch.setattr(stylegan2, "_WINOGRAD_SIZES", (8, 16, 32))
    monkeypatch.setattr(stylegan2, "_WINOGRAD_CHANNELS", 1)
    models = {
        form: serialize(stylegan2.build_synthesis(checkpoint, VariantOptions(upsampling=form, output="float32_nchw")))
        for form in ("transposed", "winograd")
    }
    names = {node.name for node in onnx.load_from_string(models["winograd"]).graph.node}
    assert "b8.conv1/product00" in names
    num_ws = len(stylegan2.ws_layout(checkpoint))
    ws = np.random.RandomState(1).randn(2, num_ws, checkpoint.config["w_dim"]).astype(np.float32)
    expected, found = (
        inference_session(model, SessionOptions(threads=1)).run(None, {"ws": ws})[0] for model in models.values()
    )
    np.testing.assert_allclose(found, expected, atol=TOLERANCE * expected.std(), rtol=0)


def test_float16_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="the form 'winograd' needs float32"):
        stylegan2.build_synthesis(random_stylegan2(), replace(VariantOptions("fp16"), upsampling="winograd"))


@pytest.mark.parametrize("output", ["uint8_nhwc", "float32_nchw"])
@pytest.mark.parametrize("noise", ["const", "random"])
def test_the_graph_obeys_the_rules(noise: Any, output: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stylegan2, "_WINOGRAD_SIZES", (4, 8, 16))
    monkeypatch.setattr(stylegan2, "_WINOGRAD_CHANNELS", 1)
    options = VariantOptions(upsampling="winograd", noise=noise, output=output)
    model = ir.to_proto(stylegan2.build_synthesis(random_stylegan2(), options))
    inputs: dict[str, list[str | int]] = {"ws": ["N", 6, 10]}
    if noise == "random":
        layers = {"b4.conv1": 4, "b8.conv0": 8, "b8.conv1": 8, "b16.conv0": 16, "b16.conv1": 16}
        inputs |= {f"noise.{layer}": ["N", 1, size, size] for layer, size in layers.items()}
    check_rules(model, inputs, ["N", 16, 16, 3] if output == "uint8_nhwc" else ["N", 3, 16, 16])


def test_only_wide_layers_of_medium_size_use_it() -> None:
    """Use a real width, so that the builder's own limits apply; the weights do not matter, because nothing runs."""
    size, channels = stylegan2._WINOGRAD_SIZES[0], stylegan2._WINOGRAD_CHANNELS
    blocks = size.bit_length() - 2  # from 4x4 to size, plus one
    for width, expected in ((channels, True), (channels - 1, False)):
        checkpoint = random_stylegan2(channels=[*[4] * (blocks - 1), width, 4], w_dim=4)
        winograd, transposed = (
            ir.to_proto(stylegan2.build_synthesis(checkpoint, VariantOptions(upsampling=form))).graph.node
            for form in ("winograd", "transposed")
        )
        found = {node.name.split("/")[0] for node in winograd if node.name.endswith("/product00")}
        assert found == ({f"b{size}.conv1"} if expected else set())
        assert ([node.name for node in winograd] == [node.name for node in transposed]) == (not expected)


def test_a_size_that_is_not_a_multiple_of_the_tile_is_refused() -> None:
    with pytest.raises(ValueError, match="layer: size 6 is not a multiple of 4"):
        graph(np.ones((2, 2, 3, 3), np.float32), 6, winograd=True)
    with pytest.raises(ValueError, match=r"shape \[2, 2, 1, 1\] is not \[O, I, 3, 3\]"):
        winograd_weights(np.ones((2, 2, 1, 1), np.float32))
