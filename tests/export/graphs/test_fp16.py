"""Float16 graphs, computed as float16 hardware would: close to float32, and without overflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from nonesuch.engine.errors import ExportMismatchError
from nonesuch.engine.home import Home
from nonesuch.engine.latents import z_from_seeds
from nonesuch.export.catalogue import find_entry
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.formats.detect import read_checkpoint
from nonesuch.export.formats.random_face import read_random_face_wheel
from nonesuch.export.fp16_simulator import Fp16Simulator, float_psnr_db
from nonesuch.export.graphs import mobilestylegan, stylegan2
from nonesuch.export.graphs.mapping import build_mapping
from nonesuch.export.graphs.synthesis_builder import VariantOptions
from nonesuch.export.graphs.upsampling import FORMS

from .random_stylegan2 import random_stylegan2

RunGraph = Callable[..., NDArray[Any]]
FIXTURES = Path(__file__).parents[2] / "fixtures"
NAMES = [
    "sg2ada_64.pkl",
    "sg2ada_cond_32.pkl",
    "sg2ada_resnet_32.pkl",
    "sg2_by_sg3repo_64.pkl",
    "sg2tf_64.pkl",
    "rosinality_64.pt",
]
FLOATS = VariantOptions(output="float32_nchw")
HALF = VariantOptions("fp16", output="float32_nchw")


def simulator(checkpoint: Checkpoint, options: VariantOptions = HALF) -> Fp16Simulator:
    return Fp16Simulator(ir.to_proto(stylegan2.build_synthesis(checkpoint, options)), threads=1)


def styles(checkpoint: Checkpoint, n: int) -> NDArray[np.float32]:
    shape = (n, checkpoint.config["num_ws"], checkpoint.config["w_dim"])
    return np.random.RandomState(0).randn(*shape).astype(np.float32)


# Close to float32.


@pytest.mark.parametrize("linear", ["gemm", "conv1x1"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_the_picture_is_close_to_float32(name: str, form: str, linear: Any) -> None:
    with np.load(FIXTURES / f"{Path(name).stem}.ref.npz") as reference:
        ws, expected = reference["ws_truncated"], reference["image"]
    found = simulator(read_checkpoint(FIXTURES / name), replace(HALF, upsampling=form, linear=linear)).run({"ws": ws})
    assert found.check(expected) < 100  # a higher PSNR would mean that nothing was rounded


@pytest.mark.parametrize("noise", ["const", "none", "random"])
@pytest.mark.parametrize("architecture", ["skip", "orig", "resnet"])
def test_every_architecture_and_noise(architecture: str, noise: Any, run_graph: RunGraph) -> None:
    checkpoint = random_stylegan2(architecture=architecture, img_channels=2)
    inputs = {"ws": styles(checkpoint, 3)}
    if noise == "random":
        for layer, size in {"b4.conv1": 4, "b8.conv0": 8, "b8.conv1": 8, "b16.conv0": 16, "b16.conv1": 16}.items():
            inputs[f"noise.{layer}"] = np.random.RandomState(size).randn(3, 1, size, size).astype(np.float32)
    expected = run_graph(stylegan2.build_synthesis(checkpoint, replace(FLOATS, noise=noise)), **inputs)
    found = simulator(checkpoint, replace(HALF, noise=noise)).run(inputs)
    found.check(expected)


def test_the_reference_evaluator_shows_the_same() -> None:
    """The reference evaluator of ONNX computes every node in NumPy's float16, sums of convolutions too."""
    checkpoint = random_stylegan2()
    model = ir.to_proto(stylegan2.build_synthesis(checkpoint, HALF))
    ws = styles(checkpoint, 1)
    outputs: Any = ReferenceEvaluator(model).run(None, {"ws": ws})
    expected = outputs[0]
    # Both have about 60 dB against float32; they differ in how a convolution sums.
    assert float_psnr_db(Fp16Simulator(model, threads=1).run({"ws": ws}).image, expected) > 55


@pytest.mark.parametrize("name", NAMES)
def test_a_runtime_runs_the_graph(name: str, run_graph: RunGraph) -> None:
    """ONNX Runtime's CPU kernels compute most of it in float32, so this tests that the graph runs, not its range."""
    checkpoint = read_checkpoint(FIXTURES / name)
    ws = styles(checkpoint, 2)
    expected = run_graph(stylegan2.build_synthesis(checkpoint, VariantOptions()), ws=ws)
    found = run_graph(stylegan2.build_synthesis(checkpoint, VariantOptions("fp16")), ws=ws)
    # 60 dB of a range of 2 is 0.13 of an 8-bit level on average; a few pixels differ by more.
    assert np.abs(found.astype(int) - expected.astype(int)).mean() < 0.3
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 4


# Nothing overflows.


def test_nothing_overflows_for_two_hundred_seeds(run_graph: RunGraph) -> None:
    checkpoint = read_checkpoint(FIXTURES / "sg2ada_64.pkl")
    w = run_graph(build_mapping(checkpoint), z=z_from_seeds(range(200), checkpoint.config["z_dim"]))
    found, float32 = simulator(checkpoint), stylegan2.build_synthesis(checkpoint, FLOATS)
    ws = np.repeat(w[:, None], checkpoint.config["num_ws"], axis=1)  # psi 1
    for start in range(0, 200, 50):
        part = ws[start : start + 50]
        run = found.run({"ws": part})
        run.check(run_graph(float32, ws=part))
        assert max(run.peaks.values()) < 1000  # 65 times below the end of the range


def test_large_weights_and_styles_do_not_overflow() -> None:
    """Demodulation cancels any factor of a layer's weight and style; no step before it may overflow in float16."""
    checkpoint = random_stylegan2()
    scaled = dict(checkpoint.tensors)
    for name, array in checkpoint.tensors.items():
        if ".conv" in name and name.endswith(("0.weight", "1.weight")):
            scaled[name] = array * np.float32(1e6)
        if ".conv" in name and ".affine." in name:
            scaled[name] = array * np.float32(1e3)
    ws = styles(checkpoint, 3)
    expected = simulator(checkpoint).run({"ws": ws})
    found = simulator(replace(checkpoint, tensors=scaled)).run({"ws": ws})
    found.check(expected.image)
    assert max(found.peaks.values()) < 1000


@pytest.mark.parametrize("form", FORMS)
def test_inputs_at_the_clamp_do_not_overflow(form: str) -> None:
    """The largest possible input of a clamped layer: 512 channels at 256, and weights that sum them all."""
    checkpoint = random_stylegan2(channels=(512, 512), img_channels=1)
    worst = dict(checkpoint.tensors)
    for name, array in checkpoint.tensors.items():
        if name.endswith((".weight", ".noise_const")) or name == "synthesis.input":
            worst[name] = np.ones_like(array)
        if name.endswith(".affine.weight"):
            worst[name] = np.zeros_like(array)
        if name.endswith(".affine.bias"):
            worst[name] = np.ones_like(array)
        if name.endswith((".conv0.bias", ".conv1.bias")):
            worst[name] = np.full_like(array, 1e4)
    found = simulator(replace(checkpoint, tensors=worst), replace(HALF, upsampling=form)).run(
        {"ws": styles(checkpoint, 1)}
    )
    assert found.overflowed == ()
    assert found.peaks["b8.conv1/clamp"] == 256
    # 256 * sqrt(9 * 512) = 17,400: the sum of a convolution whose inputs are all at the clamp.
    assert 17_000 < found.peaks["b8.conv1/conv"] < 17_500


def test_zero_styles_give_no_nan() -> None:
    checkpoint = random_stylegan2()
    silent = {name: array * 0 if ".affine." in name else array for name, array in checkpoint.tensors.items()}
    found = simulator(replace(checkpoint, tensors=silent)).run({"ws": styles(checkpoint, 1)})
    assert found.overflowed == ()
    assert np.isfinite(found.image).all()


def test_a_planted_overflow_is_refused(checkpoint: Checkpoint) -> None:
    options = VariantOptions("fp16", output="float32_nchw")
    name = "synthesis.blocks.1.conv1.affine.bias"
    planted = replace(checkpoint, tensors={**checkpoint.tensors, name: checkpoint.tensors[name] + 3e4})
    ws = np.zeros((1, 8, 12), np.float32)
    good, bad = (
        Fp16Simulator(ir.to_proto(mobilestylegan.build_synthesis(c, options)), threads=1).run({"ws": ws})
        for c in (checkpoint, planted)
    )
    assert good.check(good.image) == float("inf")
    with pytest.raises(ExportMismatchError, match=r"float16 cannot hold 'blocks\.1\.up/modulate'"):
        bad.check(bad.image)

    # An overflow in a StyleGAN2, which its clamp makes finite again.
    model = ir.to_proto(stylegan2.build_synthesis(random_stylegan2(), HALF))
    for tensor in model.graph.initializer:
        if tensor.name == "b8.conv1.weight":
            tensor.CopyFrom(numpy_helper.from_array(np.full_like(numpy_helper.to_array(tensor), 6e4), tensor.name))
    found = Fp16Simulator(model, threads=1).run({"ws": styles(random_stylegan2(), 1)})
    assert np.isfinite(found.image).all()
    with pytest.raises(ExportMismatchError, match=r"float16 cannot hold 'b8\.conv1/conv'"):
        found.check(found.image)


# What is float16 and what is not.


def value_types(model: onnx.ModelProto) -> dict[str, int]:
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    return {value.name: value.type.tensor_type.elem_type for value in typed.graph.value_info}


def test_styles_demodulation_and_the_rgb_sum_stay_float32() -> None:
    model = ir.to_proto(stylegan2.build_synthesis(random_stylegan2(conv_clamp=256), VariantOptions("fp16")))
    types = value_types(model)
    half = {name for name, kind in types.items() if kind == TensorProto.FLOAT16}
    parts = ("/gemm", "/style", "/style_square", "/style_normalized", "/demodulation", "/rescale", "/sum")
    full = [name for name in types if name.endswith(parts)]
    assert len(full) >= 25
    assert not half & set(full)
    convolutions = {node.name for node in model.graph.node if node.op_type in {"Conv", "ConvTranspose"}}
    assert {name for name in convolutions if name not in half} == {"b8.torgb/fir", "b16.torgb/fir"}
    assert {name for name in types if name.endswith("/lrelu")} <= half


@pytest.mark.parametrize(("conv_clamp", "expected"), [(None, 256), (256.0, 256), (100.0, 100)])
def test_a_float16_graph_always_has_a_clamp(conv_clamp: float | None, expected: float) -> None:
    model = ir.to_proto(stylegan2.build_synthesis(random_stylegan2(conv_clamp=conv_clamp), HALF))
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for layer in ("b4.conv1", "b8.conv0", "b8.conv1", "b16.torgb"):
        assert values[f"{layer}/clamp.high"] == expected == -values[f"{layer}/clamp.low"]
    float32 = ir.to_proto(stylegan2.build_synthesis(random_stylegan2(conv_clamp=conv_clamp), FLOATS))
    assert any(node.op_type == "Clip" for node in float32.graph.node) == (conv_clamp is not None)


# MobileStyleGAN.


@pytest.mark.parametrize("form", ["haar_conv_transpose", "haar_butterfly", "haar_grouped_conv"])
def test_mobilestylegan_is_close_to_float32(form: str, checkpoint: Checkpoint, run_graph: RunGraph) -> None:
    ws = np.random.RandomState(0).randn(4, 8, 12).astype(np.float32)
    expected = run_graph(mobilestylegan.build_synthesis(checkpoint, FLOATS), ws=ws)
    model = mobilestylegan.build_synthesis(checkpoint, replace(HALF, upsampling=form))
    Fp16Simulator(ir.to_proto(model), threads=1).run({"ws": ws}).check(expected)
    eight = run_graph(mobilestylegan.build_synthesis(checkpoint, VariantOptions("fp16", form)), ws=ws)
    rule = np.clip(expected.transpose(0, 2, 3, 1) * 127.5 + 128, 0, 255).astype(np.uint8)
    # Float16 has steps of 1/256 at 5, the largest value here: half an 8-bit level.
    assert np.abs(eight.astype(int) - rule.astype(int)).max() <= 4


@pytest.mark.faces
def test_the_default_model_fits_float16(faces_home: Home, run_graph: RunGraph) -> None:
    checkpoint = read_random_face_wheel(find_entry("faces").file.fetch(faces_home))
    w = run_graph(build_mapping(checkpoint), z=z_from_seeds([0, 1, 2], 512))
    ws = np.repeat(w[:, None], 23, axis=1)  # psi 1
    float32 = mobilestylegan.build_synthesis(checkpoint, FLOATS)
    half = Fp16Simulator(ir.to_proto(mobilestylegan.build_synthesis(checkpoint, HALF)))
    for row in ws:
        run = half.run({"ws": row[None]})
        run.check(run_graph(float32, ws=row[None]))
        assert max(run.peaks.values()) < 6000  # ten times below the end of the range
