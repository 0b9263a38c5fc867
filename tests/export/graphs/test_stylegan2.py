from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.formats.detect import read_checkpoint
from nonesuch.export.graphs.stylegan2 import build_synthesis, ws_layout
from nonesuch.export.graphs.synthesis_builder import VariantOptions
from nonesuch.export.graphs.upsampling import FORMS

from .paper_stylegan2 import picture
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


def styles(checkpoint: Checkpoint, n: int, seed: int = 0) -> NDArray[np.float32]:
    """Return a different w for every layer of every row."""
    layers, w_dim = checkpoint.config["num_ws"], checkpoint.config["w_dim"]
    return np.random.RandomState(seed).randn(n, layers, w_dim).astype(np.float32)


# Checkpoints of other code, compared with that code's pictures.


@pytest.mark.parametrize("linear", ["gemm", "conv1x1"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_the_picture_matches_the_original_code(name: str, form: str, linear: Any, run_graph: RunGraph) -> None:
    checkpoint = read_checkpoint(FIXTURES / name)
    with np.load(FIXTURES / f"{Path(name).stem}.ref.npz") as reference:
        ws, expected = reference["ws_truncated"], reference["image"]
    model = build_synthesis(checkpoint, replace(FLOATS, upsampling=form, linear=linear))
    found = run_graph(model, ws=ws)
    # Two float32 programs that sum up to 300 products a pixel in other orders, in about 10 layers; 5e-6 was measured.
    # A wrong border, filter, gain or index is thousands of times that.
    assert np.abs(found - expected).max() < 1e-3 * expected.std()
    # A row does not depend on the batch size.
    for n in (1, 3):
        np.testing.assert_array_equal(run_graph(model, ws=ws[:n]), found[:n])
    np.testing.assert_array_equal(run_graph(model, ws=ws[3:]), found[3:])


@pytest.mark.parametrize("name", NAMES)
def test_eight_bits_match_the_converted_floats(name: str, run_graph: RunGraph) -> None:
    checkpoint = read_checkpoint(FIXTURES / name)
    with np.load(FIXTURES / f"{Path(name).stem}.ref.npz") as reference:
        ws = reference["ws_truncated"]
    floats = run_graph(build_synthesis(checkpoint, FLOATS), ws=ws)
    found = run_graph(build_synthesis(checkpoint, VariantOptions()), ws=ws)
    expected = np.clip(floats.transpose(0, 2, 3, 1) * 127.5 + 128, 0, 255).astype(np.uint8)
    assert found.dtype == np.uint8
    assert expected.std() > 20
    # The factor is folded into the heads' weights, so a value may round differently by one 8-bit level.
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
    assert (found != expected).mean() < 1e-3  # an offset of 127.5 would change half of them


# Shapes and options without a reference output, compared with the paper's formulas in float64.


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("architecture", ["skip", "orig", "resnet"])
def test_the_picture_matches_the_paper(architecture: str, form: str, run_graph: RunGraph) -> None:
    checkpoint = random_stylegan2(architecture=architecture)
    ws = styles(checkpoint, 3)
    expected = picture(checkpoint, ws)
    found = run_graph(build_synthesis(checkpoint, replace(FLOATS, upsampling=form)), ws=ws)
    # float32 against float64: 6 layers of about 100 products at values around 1.
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * expected.std())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("img_channels", [1, 2, 3, 4])
@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_any_number_of_channels_and_blocks(img_channels: int, blocks: int, form: str, run_graph: RunGraph) -> None:
    checkpoint = random_stylegan2(channels=[7, 6, 5, 4][:blocks], img_channels=img_channels)
    ws = styles(checkpoint, 2)
    expected = picture(checkpoint, ws)
    assert expected.shape == (2, img_channels, 4 << (blocks - 1), 4 << (blocks - 1))
    found = run_graph(build_synthesis(checkpoint, replace(FLOATS, upsampling=form)), ws=ws)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * expected.std())
    eight = run_graph(build_synthesis(checkpoint, VariantOptions(upsampling=form)), ws=ws)
    rule = np.clip(expected.transpose(0, 2, 3, 1) * 127.5 + 128, 0, 255).astype(np.uint8)
    assert np.abs(eight.astype(int) - rule.astype(int)).max() <= 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "taps", [(0.25, 0.75), (0.1, 0.2, 0.7), (0.5, 0.3, 0.15, 0.05), (0.1, 0.3, 0.2, 0.2, 0.1, 0.1)]
)
@pytest.mark.parametrize("architecture", ["skip", "resnet"])
def test_any_resampling_filter(taps: tuple[float, ...], form: str, architecture: str, run_graph: RunGraph) -> None:
    """Asymmetric filters reveal a flip, and odd ones a wrong start."""
    checkpoint = random_stylegan2(channels=(6, 5, 4), taps=taps, architecture=architecture)
    ws = styles(checkpoint, 1)
    expected = picture(checkpoint, ws)
    found = run_graph(build_synthesis(checkpoint, replace(FLOATS, upsampling=form)), ws=ws)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * expected.std())


@pytest.mark.parametrize("architecture", ["skip", "orig", "resnet"])
@pytest.mark.parametrize("output", ["float32_nchw", "uint8_nhwc"])
def test_the_clamp_acts_in_float32_too(architecture: str, output: Any, run_graph: RunGraph) -> None:
    checkpoint = random_stylegan2(architecture=architecture, conv_clamp=0.6)
    ws = styles(checkpoint, 2)
    expected = picture(checkpoint, ws)
    free = picture(replace(checkpoint, config={**checkpoint.config, "conv_clamp": None}), ws)
    assert np.abs(free - expected).max() > 0.5
    found = run_graph(build_synthesis(checkpoint, VariantOptions(output=output)), ws=ws)
    if output == "float32_nchw":
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)
    else:
        rule = np.clip(expected.transpose(0, 2, 3, 1) * 127.5 + 128, 0, 255).astype(np.uint8)
        assert np.abs(found.astype(int) - rule.astype(int)).max() <= 1


def test_demodulation_has_its_epsilon(run_graph: RunGraph) -> None:
    """Use weights so small that epsilon matters: sums of squares around 1e-8."""
    checkpoint = random_stylegan2(channels=(6, 5))
    small = dict(checkpoint.tensors)
    for name, array in checkpoint.tensors.items():
        if name.endswith((".conv0.weight", ".conv1.weight")):
            small[name] = array * np.float32(1e-5)
    checkpoint = replace(checkpoint, tensors=small)
    ws = styles(checkpoint, 2)
    found = run_graph(build_synthesis(checkpoint, FLOATS), ws=ws)
    np.testing.assert_allclose(found, picture(checkpoint, ws), rtol=0, atol=2e-5)


def test_widths_come_from_the_tensors(run_graph: RunGraph) -> None:
    """Pruned networks have other widths between the layers of a block and in the constant."""
    checkpoint = random_stylegan2(channels=(7, 6, 5), middle=3, constant=9)
    ws = styles(checkpoint, 2)
    found = run_graph(build_synthesis(checkpoint, FLOATS), ws=ws)
    np.testing.assert_allclose(found, picture(checkpoint, ws), rtol=0, atol=2e-5)


# Noise.


def noise_inputs(checkpoint: Checkpoint, n: int, value: Callable[..., NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    layers = [f"b{4 << b}.conv{i}" for b, i in itertools.product(range(len(checkpoint.config["channels"])), (0, 1))][1:]
    sizes = {layer: int(layer[1:].split(".")[0]) for layer in layers}
    return {layer: value(n, 1, size, size).astype(np.float32) for layer, size in sizes.items()}


def test_random_noise_is_an_input_of_every_layer(run_graph: RunGraph) -> None:
    checkpoint = random_stylegan2()
    ws, noise = styles(checkpoint, 3), noise_inputs(checkpoint, 3, np.random.RandomState(1).randn)
    model = build_synthesis(checkpoint, replace(FLOATS, noise="random"))
    found = run_graph(model, ws=ws, **{f"noise.{layer}": image for layer, image in noise.items()})
    np.testing.assert_allclose(found, picture(checkpoint, ws, noise), rtol=0, atol=5e-5)
    # The noise of a row affects only that row.
    one = run_graph(model, ws=ws[1:2], **{f"noise.{layer}": image[1:2] for layer, image in noise.items()})
    np.testing.assert_array_equal(one, found[1:2])


def test_no_noise_equals_noise_of_zeros(run_graph: RunGraph) -> None:
    checkpoint = random_stylegan2()
    ws = styles(checkpoint, 2)
    expected = picture(checkpoint, ws, noise_inputs(checkpoint, 2, lambda *shape: np.zeros(shape)))
    found = run_graph(build_synthesis(checkpoint, replace(FLOATS, noise="none")), ws=ws)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)
    assert np.abs(found - picture(checkpoint, ws)).max() > 0.1


# The layout of ws.


@pytest.mark.parametrize("architecture", ["skip", "orig", "resnet"])
def test_each_index_acts_on_the_layers_that_the_layout_names(architecture: str, run_graph: RunGraph) -> None:
    """If all affines that read an index are zero, a change of its w has no effect; otherwise it has one."""
    checkpoint = random_stylegan2(architecture=architecture)
    base = styles(checkpoint, 1)
    layout = ws_layout(checkpoint)
    assert [entry.index for entry in layout] == list(range(checkpoint.config["num_ws"]))
    for entry in layout:
        frozen = dict(checkpoint.tensors)
        for consumer in entry.consumers:
            name = f"synthesis.{consumer}.affine.weight"
            frozen[name] = np.zeros_like(frozen[name])
        changed = base.copy()
        changed[:, entry.index] += 1
        model = build_synthesis(checkpoint, FLOATS)
        held = build_synthesis(replace(checkpoint, tensors=frozen), FLOATS)
        assert (run_graph(model, ws=changed) != run_graph(model, ws=base)).any()
        np.testing.assert_array_equal(run_graph(held, ws=changed), run_graph(held, ws=base))


def test_the_layout_of_a_small_network() -> None:
    layout = ws_layout(random_stylegan2())
    assert [entry.resolution for entry in layout] == [4, 8, 8, 16, 16, 16]
    assert [entry.consumers for entry in layout] == [
        ("b4.conv1",),
        ("b4.torgb", "b8.conv0"),
        ("b8.conv1",),
        ("b8.torgb", "b16.conv0"),
        ("b16.conv1",),
        ("b16.torgb",),
    ]
    assert [entry.consumers for entry in ws_layout(random_stylegan2(architecture="resnet"))][1] == ("b8.conv0",)


# Invalid checkpoints.


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("resolution", 24, "resolution 24 is not a power of two"),
        ("resolution", 2, "resolution 2 is not a power of two"),
        ("resolution", 32, "channels of 3 blocks, which do not fit 32 pixels"),
        ("architecture", "stylish", "architecture 'stylish' is unknown"),
        ("resample_filter", [1.0], "fewer than two taps"),
    ],
)
def test_an_impossible_config_is_refused(key: str, value: object, message: str) -> None:
    checkpoint = random_stylegan2()
    with pytest.raises(CheckpointError, match=message) as caught:
        build_synthesis(replace(checkpoint, config={**checkpoint.config, key: value}), FLOATS)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("architecture", ["skip", "orig", "resnet"])
def test_a_wrong_or_missing_tensor_is_named(architecture: str) -> None:
    checkpoint = random_stylegan2(architecture=architecture)
    for name, array in checkpoint.tensors.items():
        missing = replace(checkpoint, tensors={key: value for key, value in checkpoint.tensors.items() if key != name})
        with pytest.raises(CheckpointError, match=f"no tensor '{name}'"):
            build_synthesis(missing, FLOATS)
        wrong = array[..., :-1] if array.ndim else array[None]
        with pytest.raises(CheckpointError, match=r"'synthesis\..*' has shape"):
            build_synthesis(replace(checkpoint, tensors={**checkpoint.tensors, name: wrong}), FLOATS)
