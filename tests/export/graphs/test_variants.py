"""Tests every variant of every family: the graph rules and the options."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError, UnsupportedError
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.graphs import mobilestylegan, stylegan2, upsampling
from nonesuch.export.graphs.synthesis_builder import VariantOptions

from .graph_rules import check_rules
from .random_stylegan2 import random_stylegan2

RunGraph = Callable[..., NDArray[Any]]
Precision = Literal["fp32", "fp16"]
Noise = Literal["const", "none", "random"]
Linear = Literal["gemm", "conv1x1"]
Output = Literal["uint8_nhwc", "float32_nchw"]


def combinations(forms: list[str], noises: list[Noise]) -> list[VariantOptions]:
    choices = itertools.product(get_args(Precision), forms, noises, get_args(Linear), get_args(Output))
    return [VariantOptions(*choice) for choice in choices]


def label(options: VariantOptions) -> str:
    return "-".join([options.precision, options.upsampling, options.noise, options.linear, options.output])


STYLEGAN2 = combinations(list(upsampling.FORMS), ["const", "none", "random"])
MOBILE = combinations(list(mobilestylegan.FORMS), ["const", "none"])


def image_shape(options: VariantOptions, channels: int, resolution: int) -> list[str | int]:
    if options.output == "uint8_nhwc":
        return ["N", resolution, resolution, channels]
    return ["N", channels, resolution, resolution]


def check_types(model: onnx.ModelProto, precision: str) -> None:
    """Check that all large tensors before the picture are float16 in fp16 graphs, and none in fp32 graphs."""
    half = {tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
    spatial = [node for node in model.graph.node if node.op_type in {"Conv", "ConvTranspose"}]
    kernels = {node.input[1] for node in spatial if any(a.name == "pads" for a in node.attribute)}
    assert kernels
    if precision == "fp32":
        assert not half
    else:
        # The up-sampling of the RGB sum stays float32.
        assert {name for name in kernels if "torgb" not in name} <= half


@pytest.mark.parametrize("architecture", ["skip", "orig", "resnet"])
@pytest.mark.parametrize("options", STYLEGAN2, ids=label)
def test_stylegan2_obeys_the_rules(options: VariantOptions, architecture: str) -> None:
    checkpoint = random_stylegan2(architecture=architecture, conv_clamp=256, img_channels=2)
    model = ir.to_proto(stylegan2.build_synthesis(checkpoint, options))
    inputs: dict[str, list[str | int]] = {"ws": ["N", 6, 10]}
    if options.noise == "random":
        layers = {"b4.conv1": 4, "b8.conv0": 8, "b8.conv1": 8, "b16.conv0": 16, "b16.conv1": 16}
        inputs |= {f"noise.{layer}": ["N", 1, size, size] for layer, size in layers.items()}
    check_rules(model, inputs, image_shape(options, 2, 16))
    check_types(model, options.precision)
    products = [node.op_type for node in model.graph.node if node.op_type == "Gemm"]
    assert bool(products) == (options.linear == "gemm")


@pytest.mark.parametrize("options", MOBILE, ids=label)
def test_mobilestylegan_obeys_the_rules(options: VariantOptions, checkpoint: Checkpoint) -> None:
    model = ir.to_proto(mobilestylegan.build_synthesis(checkpoint, options))
    check_rules(model, {"ws": ["N", 8, 12]}, image_shape(options, 3, 32))
    check_types(model, options.precision)


def test_the_same_checkpoint_gives_the_same_bytes(checkpoint: Checkpoint) -> None:
    random = random_stylegan2()
    for options in (VariantOptions(), VariantOptions("fp16", "polyphase", "random", "conv1x1")):
        first, second = (ir.to_proto(stylegan2.build_synthesis(random, options)) for _ in range(2))
        assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def styles(n: int) -> NDArray[np.float32]:
    return np.random.RandomState(0).randn(n, 8, 12).astype(np.float32)


@pytest.mark.parametrize("options", [option for option in MOBILE if option.precision == "fp32"], ids=label)
def test_mobilestylegan_variants_show_the_same(
    options: VariantOptions, checkpoint: Checkpoint, run_graph: RunGraph
) -> None:
    if options.noise == "none":  # equals constant noise of zeros
        tensors = {k: v * 0 if k.endswith(".noise") else v for k, v in checkpoint.tensors.items()}
        expected_checkpoint = replace(checkpoint, tensors=tensors)
    else:
        expected_checkpoint = checkpoint
    default = VariantOptions(output=options.output)
    expected = run_graph(mobilestylegan.build_synthesis(expected_checkpoint, default), ws=styles(4))
    model = mobilestylegan.build_synthesis(checkpoint, options)
    found = run_graph(model, ws=styles(4))
    if options.output == "uint8_nhwc":
        assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
    else:
        # Other orders of the same sums, at a picture whose values reach 5.
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    for n in (1, 3):
        np.testing.assert_array_equal(run_graph(model, ws=styles(4)[:n]), found[:n])


def test_the_noise_of_mobilestylegan_is_visible(checkpoint: Checkpoint, run_graph: RunGraph) -> None:
    options = VariantOptions(output="float32_nchw")
    with_noise, without = (
        run_graph(mobilestylegan.build_synthesis(checkpoint, o), ws=styles(1))
        for o in (options, replace(options, noise="none"))
    )
    assert np.abs(with_noise - without).max() > 0.1


# Options: the default, and unsupported ones.


def test_the_default_upsampling_is_the_first_form(checkpoint: Checkpoint) -> None:
    random = random_stylegan2()
    for build, weights, form in (
        (stylegan2.build_synthesis, random, "transposed"),
        (mobilestylegan.build_synthesis, checkpoint, "haar_conv_transpose"),
    ):
        default, named = (ir.to_proto(build(weights, VariantOptions(upsampling=name))) for name in ("default", form))
        assert default.SerializeToString(deterministic=True) == named.SerializeToString(deterministic=True)


def test_an_unknown_upsampling_is_refused_by_name(checkpoint: Checkpoint) -> None:
    options = VariantOptions(upsampling="bilinear")
    with pytest.raises(UnsupportedError, match=r"'stylegan2' has no up-sampling 'bilinear'.*transposed, polyphase"):
        stylegan2.build_synthesis(random_stylegan2(), options)
    with pytest.raises(UnsupportedError, match=r"'mobilestylegan' has no up-sampling 'bilinear'.*haar_butterfly"):
        mobilestylegan.build_synthesis(checkpoint, options)


def test_random_noise_of_a_folded_strength_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(UnsupportedError, match=r"'mobilestylegan' does not support noise 'random'.*const, none"):
        mobilestylegan.build_synthesis(checkpoint, VariantOptions(noise="random"))


def test_a_weight_beyond_float16_is_refused(checkpoint: Checkpoint) -> None:
    name = "synthesis.conv1.bias"
    large = replace(checkpoint, tensors={**checkpoint.tensors, name: checkpoint.tensors[name] * 0 + 1e5})
    mobilestylegan.build_synthesis(large, VariantOptions())
    with pytest.raises(CheckpointError, match=r"'conv1\.bias' has the value 100000, which is too large for float16"):
        mobilestylegan.build_synthesis(large, VariantOptions("fp16"))
