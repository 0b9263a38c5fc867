"""Compares StyleGAN3-T and -R with their reference code, and checks the rules for every graph."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from nonesuch.engine.backends.onnxruntime import inference_session
from nonesuch.engine.errors import CheckpointError, UnsupportedError
from nonesuch.engine.session import SessionOptions
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.formats.detect import read_checkpoint
from nonesuch.export.fp16_simulator import Fp16Simulator, float_psnr_db
from nonesuch.export.graphs.filtered_lrelu import FORMS
from nonesuch.export.graphs.graph_builder import GraphBuilder
from nonesuch.export.graphs.stylegan3 import build_synthesis, ws_layout
from nonesuch.export.graphs.stylegan3_input import FourierInput
from nonesuch.export.graphs.synthesis_builder import VariantOptions

from ...conftest import REPOSITORY
from .graph_rules import check_rules, shape

RunGraph = Callable[..., NDArray[Any]]
FIXTURES = REPOSITORY / "tests" / "fixtures"
Precision = Literal["fp32", "fp16"]
Linear = Literal["gemm", "conv1x1"]
Output = Literal["uint8_nhwc", "float32_nchw"]
FLOATS = VariantOptions(output="float32_nchw")
ALL = [
    VariantOptions(precision, upsampling, "const", linear, output)
    for precision, upsampling, linear, output in itertools.product(
        get_args(Precision), FORMS, get_args(Linear), get_args(Output)
    )
]
EXACT = [options for options in ALL if (options.precision, options.output) == ("fp32", "float32_nchw")]


def named(options: VariantOptions) -> str:
    return f"{options.precision}-{options.upsampling}-{options.linear}-{options.output}"


@dataclass(frozen=True)
class Known:
    """A network and the output of its reference code."""

    checkpoint: Checkpoint
    ws: NDArray[np.float32]  # [4, num_ws, w_dim]
    image: NDArray[np.float32]  # [4, 3, R, R]

    @property
    def transform(self) -> NDArray[np.float32]:
        """The checkpoint's own transform, for each row."""
        return np.tile(self.checkpoint.tensors["synthesis.input.transform"], (len(self.ws), 1, 1))


@pytest.fixture(scope="module", params=["sg3t_64", "sg3r_64"])
def known(request: pytest.FixtureRequest) -> Known:
    return load(request.param)


@pytest.fixture(scope="module")
def rotated() -> Known:
    """The rotation-equivariant network."""
    return load("sg3r_64")


def load(name: str) -> Known:
    with np.load(FIXTURES / f"{name}.ref.npz") as reference:
        return Known(read_checkpoint(FIXTURES / f"{name}.pkl"), reference["ws_truncated"], reference["image"])


def turned(*rows: list[float]) -> NDArray[np.float32]:
    return np.tile(np.array([*rows, [0, 0, 1]], dtype=np.float32), (4, 1, 1))


# Pictures.


@pytest.mark.parametrize("options", EXACT, ids=named)
def test_the_pictures_match_the_reference_in_any_batch(known: Known, options: VariantOptions) -> None:
    model = ir.to_proto(build_synthesis(known.checkpoint, options)).SerializeToString()
    for threads in (1, 2):
        session = inference_session(model, SessionOptions(threads=threads, spinning=False))
        images = [session.run(None, {"ws": known.ws[:n], "transform": known.transform[:n]})[0] for n in (1, 3, 4)]
        # float32 sums in another order: 6e-6 of the pictures' deviation was measured; other processors may differ.
        np.testing.assert_allclose(images[-1], known.image, rtol=0, atol=1e-4 * known.image.std())
        for image in images:
            np.testing.assert_array_equal(image, images[-1][: len(image)])


@pytest.mark.parametrize("upsampling", FORMS)
def test_eight_bits_match_the_reference(known: Known, upsampling: str, run_graph: RunGraph) -> None:
    model = build_synthesis(known.checkpoint, VariantOptions(upsampling=upsampling))
    found = run_graph(model, ws=known.ws, transform=known.transform)
    expected = np.clip(known.image.transpose(0, 2, 3, 1) * np.float32(127.5) + 128, 0, 255).astype(np.uint8)
    assert expected.std() > 10
    different = found != expected
    # A few values on the border between two 8-bit levels may round differently.
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert different.mean() < 0.001


def test_every_index_of_ws_acts(known: Known, run_graph: RunGraph) -> None:
    layout = ws_layout(known.checkpoint)
    assert [entry.index for entry in layout] == list(range(16))
    assert [entry.consumers for entry in layout] == [("input",), *((f"L{i}",) for i in range(15))]
    assert [entry.resolution for entry in layout] == [36] * 5 + [52] * 4 + [84] * 5 + [64] * 2
    # An untrained input ignores its w, so this test sets its weights.
    name = "synthesis.input.affine.weight"
    weight = 0.1 * np.random.RandomState(0).randn(*known.checkpoint.tensors[name].shape)
    tensors = {**known.checkpoint.tensors, name: weight.astype(np.float32)}
    model = build_synthesis(replace(known.checkpoint, tensors=tensors), FLOATS)
    row = np.tile(known.ws[:1], (len(layout), 1, 1))
    changed = row.copy()
    changed[np.arange(len(layout)), np.arange(len(layout))] += 1
    transform = np.tile(known.transform[:1], (len(layout), 1, 1))
    found = run_graph(model, ws=changed, transform=transform) - run_graph(model, ws=row, transform=transform)
    assert (np.abs(found).max(axis=(1, 2, 3)) > 1e-3).all()


def test_noise_options_make_no_difference(known: Known) -> None:
    const, none = (VariantOptions(noise="const"), VariantOptions(noise="none"))
    assert ir.to_proto(build_synthesis(known.checkpoint, const)) == ir.to_proto(build_synthesis(known.checkpoint, none))


# Moving and turning the picture.


def test_a_quarter_turn_turns_the_picture_of_r(rotated: Known, run_graph: RunGraph) -> None:
    """All of -R is symmetric under a quarter turn: 1x1 convolutions, round filters, and padding about the centre."""
    model = build_synthesis(rotated.checkpoint, FLOATS)
    upright = run_graph(model, ws=rotated.ws, transform=rotated.transform)
    # The point (x, y) shows the former (-y, x), with x to the right and y down: the picture turns counterclockwise.
    found = run_graph(model, ws=rotated.ws, transform=turned([0, -1, 0], [1, 0, 0]))
    # Sums in another order: 2e-6 of the deviation was measured.
    np.testing.assert_allclose(found, np.rot90(upright, axes=(2, 3)), rtol=0, atol=1e-4 * upright.std())
    assert np.abs(found - upright).max() > upright.std()


@pytest.mark.parametrize("steps", [1, -2])
@pytest.mark.parametrize("axis", [2, 3])
def test_a_step_of_the_first_grid_moves_the_picture(known: Known, steps: int, axis: int, run_graph: RunGraph) -> None:
    model = build_synthesis(known.checkpoint, FLOATS)
    still = run_graph(model, ws=known.ws, transform=known.transform)
    shift = steps / 16  # the first layer has 16 samples a unit, and a unit is the picture of 64 pixels
    moved = turned([1, 0, shift if axis == 3 else 0], [0, 1, shift if axis == 2 else 0])
    found = run_graph(model, ws=known.ws, transform=moved)
    inner = slice(20, 44)
    expected = np.roll(still, -4 * steps, axis)[:, :, inner, inner]
    # Only content beyond the first layers' margin differs. Its effect fades inwards, faster in -R (1x1 convolutions):
    # 2e-3 of the deviation in -T and 2e-6 in -R were measured.
    is_r = known.checkpoint.config["layers"][0]["conv_kernel"] == 1
    tolerance = (1e-4 if is_r else 1e-2) * still.std()
    np.testing.assert_allclose(found[:, :, inner, inner], expected, rtol=0, atol=tolerance)
    assert np.abs(expected - still[:, :, inner, inner]).max() > 0.1 * still.std()


def test_each_row_has_its_own_transform(known: Known, run_graph: RunGraph) -> None:
    model = build_synthesis(known.checkpoint, FLOATS)
    transform = known.transform.copy()
    transform[2] = turned([0.8, -0.6, 0.1], [0.6, 0.8, 0.2])[0]
    still, found = (run_graph(model, ws=known.ws, transform=t) for t in (known.transform, transform))
    np.testing.assert_array_equal(found[[0, 1, 3]], still[[0, 1, 3]])
    assert np.abs(found[2] - still[2]).max() > still.std()


def test_the_input_matches_the_paper(run_graph: RunGraph) -> None:
    """Compare with the definition in float64, with matrices, for any motion and any transform."""
    rows, channels, size, rate, bandwidth = 3, 40, 12, 8.0, 1.5
    random = np.random.RandomState(0)
    motion, transform = random.randn(rows, 4), random.randn(rows, 3, 3)
    frequencies, phases = 1.5 * random.randn(channels, 2), random.rand(channels) - 0.5
    graph = GraphBuilder("input")
    m, t = graph.input("m", ir.DataType.FLOAT, ["N", 4]), graph.input("t", ir.DataType.FLOAT, ["N", 3, 3])
    waves = FourierInput(graph, size, rate, bandwidth).apply(
        m, t, frequencies.astype(np.float32), phases.astype(np.float32)
    )
    model = graph.build([(waves, "waves", ir.DataType.FLOAT, ["N", channels, size, size])])
    found = run_graph(model, m=motion.astype(np.float32), t=transform.astype(np.float32))
    points = (np.arange(size) + 0.5 - size / 2) / rate
    for row in range(rows):
        cosine, sine, x, y = motion[row] / np.hypot(*motion[row, :2])
        rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        translation = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]])
        matrix = rotation @ translation @ transform[row]
        turns = phases + frequencies @ matrix[:2, 2]
        moved = frequencies @ matrix[:2, :2]
        amplitude = np.clip(1 - (np.hypot(*moved.T) - bandwidth) / (rate / 2 - bandwidth), 0, 1)
        assert 0 < np.mean(amplitude == 1) < 1
        assert 0 < np.mean(amplitude == 0) < 1
        angle = moved[:, 0, None, None] * points + moved[:, 1, None, None] * points[:, None] + turns[:, None, None]
        expected = np.sin(2 * np.pi * angle) * amplitude[:, None, None]
        # Angles up to about 50 have a float32 rounding of 4e-6.
        np.testing.assert_allclose(found[row], expected, rtol=0, atol=5e-5)


# Rules for every graph, so that it runs in any runtime.


@pytest.mark.parametrize("options", ALL, ids=named)
def test_every_variant_obeys_the_rules(known: Known, options: VariantOptions) -> None:
    model = ir.to_proto(build_synthesis(known.checkpoint, options))
    image: list[str | int] = ["N", 64, 64, 3] if options.output == "uint8_nhwc" else ["N", 3, 64, 64]
    check_rules(model, {"ws": ["N", 16, 64], "transform": ["N", 3, 3]}, image)
    operators = {node.op_type for node in model.graph.node}
    assert ("Gemm" in operators) == (options.linear == "gemm")
    assert ("ConvTranspose" in operators) == (options.upsampling == "transposed")
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        assert all(pad >= 0 for attribute in node.attribute if attribute.name == "pads" for pad in attribute.ints)
        if node.op_type in {"Slice", "Split", "Unsqueeze", "Gather", "Clip", "ReduceMax"}:
            assert set(node.input[1:]) <= constants, node.name


@pytest.mark.parametrize("upsampling", FORMS)
def test_every_size_but_the_batch_is_known(known: Known, upsampling: str) -> None:
    model = ir.to_proto(build_synthesis(known.checkpoint, VariantOptions(upsampling=upsampling)))
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = {value.name: shape(value) for value in inferred.value_info}
    for name in {name for node in inferred.node for name in node.output} - {"image"}:
        assert values[name][0] == "N", name
        assert all(isinstance(size, int) for size in values[name][1:]), name


def test_the_same_checkpoint_gives_the_same_bytes(known: Known) -> None:
    for options in (VariantOptions(), VariantOptions("fp16", "transposed")):
        first, second = (ir.to_proto(build_synthesis(known.checkpoint, options)) for _ in range(2))
        assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


# Float16.


def half_convolutions(checkpoint: Checkpoint, **options: Any) -> dict[str, bool]:
    """Return whether a convolution's weight is float16, by name; check the types of other nodes."""
    model = build_synthesis(checkpoint, replace(FLOATS, precision="fp16", **options))
    proto = onnx.shape_inference.infer_shapes(ir.to_proto(model), strict_mode=True)
    types = {value.name: value.type.tensor_type.elem_type for value in (*proto.graph.value_info, *proto.graph.input)}
    for node in proto.graph.node:
        if node.op_type in {"Gemm", "Sin", "Sqrt", "Reciprocal"}:
            assert types[node.input[0]] == onnx.TensorProto.FLOAT, node.name
    weights = {tensor.name: tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in proto.graph.initializer}
    return {node.name: weights[node.input[1]] for node in proto.graph.node if node.op_type in {"Conv", "ConvTranspose"}}


@pytest.mark.parametrize("upsampling", FORMS)
def test_float16_matches_the_reference(known: Known, upsampling: str) -> None:
    options = replace(FLOATS, precision="fp16", upsampling=upsampling)
    run = Fp16Simulator(ir.to_proto(build_synthesis(known.checkpoint, options)), threads=1).run(
        {"ws": known.ws, "transform": known.transform}
    )
    assert not run.overflowed
    assert np.isfinite(run.image).all()
    assert run.image.dtype == np.float32
    # 74 dB and more was measured, a fifth of an 8-bit level at the worst pixels; the export requires 40 dB.
    assert float_psnr_db(run.image, known.image) > 60


@pytest.mark.parametrize("upsampling", FORMS)
@pytest.mark.parametrize("clamp", [256.0, None])
def test_float16_holds_activations_far_beyond_the_clamp(known: Known, upsampling: str, clamp: float | None) -> None:
    """Use very large activations: without normalised weights and a clamp the next sums would be infinite."""
    random = np.random.RandomState(0)
    loud = {k: v for k, v in known.checkpoint.tensors.items() if re.fullmatch(r"synthesis\.L\d+\.bias", k)}
    tensors = {**known.checkpoint.tensors, **{k: (3000 * random.randn(*v.shape)).astype("f4") for k, v in loud.items()}}
    checkpoint = replace(known.checkpoint, tensors=tensors, config={**known.checkpoint.config, "conv_clamp": clamp})
    options = replace(FLOATS, precision="fp16", upsampling=upsampling)
    run = Fp16Simulator(ir.to_proto(build_synthesis(checkpoint, options)), threads=1).run(
        {"ws": known.ws[:1], "transform": known.transform[:1]}
    )
    assert not run.overflowed
    assert max(peak for name, peak in run.peaks.items() if "clamp" in name) == 256


@pytest.mark.parametrize("upsampling", FORMS)
def test_float16_is_in_the_graphs_own_types(known: Known, upsampling: str) -> None:
    halves = half_convolutions(known.checkpoint, upsampling=upsampling)
    assert [name for name, half in halves.items() if not half] == ["input/conv"]


def test_coarse_layers_stay_float32(known: Known) -> None:
    """The rate of a layer's output times 16 must be above the resolution, as it was in training."""
    config = known.checkpoint.config
    slow = replace(
        known.checkpoint, config={**config, "input": {**config["input"], "sampling_rate": 2.0, "bandwidth": 0.5}}
    )
    halves = half_convolutions(slow)
    # The rate is 2, from L4 on 4, from L8 on 8; 8 * 16 is the first above 64.
    assert [halves[f"L{index}/conv"] for index in range(15)] == [False] * 8 + [True] * 7


# Invalid options and checkpoints.


def test_every_tensor_of_the_network_is_checked(known: Known) -> None:
    for name in known.checkpoint.tensors:
        # The transform is an input of the graph instead.
        if name.startswith("synthesis.") and name != "synthesis.input.transform":
            tensors = {**known.checkpoint.tensors, name: np.zeros((2, 3, 5), np.float32)}
            with pytest.raises(CheckpointError, match=name):
                build_synthesis(replace(known.checkpoint, tensors=tensors), FLOATS)


def test_options_that_the_family_lacks_are_refused_by_name(known: Known) -> None:
    with pytest.raises(UnsupportedError, match="no up-sampling 'bilinear'; supported: default, polyphase, transposed"):
        build_synthesis(known.checkpoint, VariantOptions(upsampling="bilinear"))
    with pytest.raises(UnsupportedError, match="'stylegan3' has no noise inputs"):
        build_synthesis(known.checkpoint, VariantOptions(noise="random"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_ws": 15}, "num_ws 15 and 15 layers; expected num_ws 16"),
        ({"resolution": 128}, r"\(3, 64\), but the config has \(3, 128\)"),
        ({"img_channels": 4}, r"\(3, 64\), but the config has \(4, 64\)"),
        ({"L4.down_factor": 3}, "layer L4 resamples by 4/3"),
        ({"L4.padding": [-6, -7, -6, -7]}, "layer L4 does not map 36 pixels to 52"),
        ({"L4.padding": [-6, -9, -5, -10]}, "layer L4 pads rows and columns differently"),
        ({"L6.in_channels": 31}, r"layer L6 has \(channels, size, to RGB\) \(31, 52, False\)"),
        ({"L6.is_torgb": True}, r"layer L6 has \(channels, size, to RGB\) \(32, 52, True\)"),
        ({"L13.out_size": 52}, "layer L13 does not map 84 pixels to 52"),
        ({"input.bandwidth": 8.0}, "bandwidth 8 at 16 samples"),
    ],
    ids=str,
)
def test_an_impossible_config_is_refused(changes: dict[str, Any], message: str) -> None:
    checkpoint = load("sg3t_64").checkpoint
    config: dict[str, Any] = {**checkpoint.config, "input": {**checkpoint.config["input"]}}
    config["layers"] = [dict(layer) for layer in checkpoint.config["layers"]]
    for name, value in changes.items():
        part, _, key = name.rpartition(".")
        inner = config["layers"][int(part[1:])] if part.startswith("L") else config["input"] if part else config
        inner[key] = value
    with pytest.raises(CheckpointError, match=message):
        build_synthesis(replace(checkpoint, config=config), FLOATS)


@pytest.mark.parametrize("magnitude", [0.0, -1.0, float("nan")])
def test_an_input_without_magnitude_is_refused(known: Known, magnitude: float) -> None:
    name = "synthesis.L3.magnitude_ema"
    tensors = {**known.checkpoint.tensors, name: np.array(magnitude, dtype=np.float32)}
    with pytest.raises(CheckpointError, match=f"'{name}' is {magnitude:g}, not positive"):
        build_synthesis(replace(known.checkpoint, tensors=tensors), FLOATS)
