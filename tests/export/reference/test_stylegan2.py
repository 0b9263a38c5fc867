from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from nonesuch.engine.errors import CheckpointError, InvalidRequestError
from nonesuch.engine.latents import truncate
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.formats.detect import read_checkpoint
from nonesuch.export.reference.modulated_conv import Form, ModulatedConv
from nonesuch.export.reference.stylegan2 import StyleGAN2

FIXTURES = Path(__file__).parents[2] / "fixtures"
FILES = [
    "sg2ada_64.pkl",
    "sg2ada_cond_32.pkl",
    "sg2ada_resnet_32.pkl",
    "sg2_by_sg3repo_64.pkl",
    "sg2tf_64.pkl",
    "rosinality_64.pt",
]
FORMS: list[Form] = ["grouped", "inference"]
ARCHITECTURES = ["skip", "orig", "resnet"]
Reference = Mapping[str, NDArray[np.float32]]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread: small networks are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@functools.cache
def fixture(file: str) -> tuple[Checkpoint, Reference]:
    """Return a checkpoint and the outputs of its format's own code."""
    with np.load((FIXTURES / file).with_suffix(".ref.npz")) as arrays:
        return read_checkpoint(FIXTURES / file), dict(arrays)


@functools.cache
def network(file: str, form: Form = "grouped") -> StyleGAN2:
    return StyleGAN2.from_checkpoint(fixture(file)[0], form)


def mapped(file: str) -> NDArray[np.float32]:
    reference = fixture(file)[1]
    c = torch.from_numpy(reference["c"]) if "c" in reference else None
    with torch.inference_mode():
        w: NDArray[np.float32] = network(file).mapping(torch.from_numpy(reference["z"]), c).numpy()
    return w


def synthesised(net: StyleGAN2, ws: torch.Tensor, **options: Any) -> torch.Tensor:
    with torch.inference_mode():
        return net.synthesis(ws, **options)


def random_checkpoint(
    architecture: str, resolution: int = 16, img_channels: int = 3, conv_clamp: float | None = None
) -> Checkpoint:
    """Return random weights with different channel counts in every block, and visible noise and biases."""
    random = np.random.RandomState(0)
    channels = [12, 10, 8][: int(math.log2(resolution)) - 1]
    w_dim, tensors = 6, {}

    def normal(name: str, *shape: int, scale: float = 1.0, mean: float = 0.0) -> None:
        tensors[name] = np.asarray(mean + scale * random.randn(*shape), np.float32)

    def affine(name: str, count: int, gain: float = 1.0) -> None:
        normal(f"{name}.affine.weight", count, w_dim, scale=0.4 * gain)
        normal(f"{name}.affine.bias", count, scale=0.1 * gain, mean=gain)

    for i in range(2):
        normal(f"mapping.fc{i}.weight", w_dim, 5 if i == 0 else w_dim, scale=0.4)
        normal(f"mapping.fc{i}.bias", w_dim, scale=0.1)
    normal("synthesis.input", 1, channels[0], 4, 4)
    before = channels[0]
    for index, after in enumerate(channels):
        size, scope = 4 << index, f"synthesis.b{4 << index}"
        for conv, inputs in (("conv0", before), ("conv1", after)):
            if conv == "conv0" and not index:
                continue
            normal(f"{scope}.{conv}.weight", after, inputs, 3, 3)
            normal(f"{scope}.{conv}.bias", after, scale=0.2)
            affine(f"{scope}.{conv}", inputs)
            normal(f"{scope}.{conv}.noise_const", size, size)
            normal(f"{scope}.{conv}.noise_strength", scale=0.1, mean=0.3)
        if architecture == "skip" or size == resolution:
            normal(f"{scope}.torgb.weight", img_channels, after, 1, 1)
            normal(f"{scope}.torgb.bias", img_channels, scale=0.2)
            affine(f"{scope}.torgb", after, after**-0.5)
        if architecture == "resnet" and index:
            normal(f"{scope}.skip.weight", after, before, 1, 1, scale=before**-0.5)
        before = after
    config = {
        "family": "stylegan2",
        "z_dim": 5,
        "c_dim": 0,
        "w_dim": w_dim,
        "mapping_layers": 2,
        "resolution": resolution,
        "img_channels": img_channels,
        "architecture": architecture,
        "conv_clamp": conv_clamp,
        "resample_filter": [0.125, 0.375, 0.375, 0.125],
        "channels": channels,
        "num_ws": 2 * len(channels),
    }
    return Checkpoint(config=config, tensors=tensors)


def random_ws(net: StyleGAN2, n: int = 3) -> torch.Tensor:
    """Return a different w for every layer of every row, so that exchanged layers are detected."""
    return torch.from_numpy(np.random.RandomState(1).randn(n, net.num_ws, net.w_dim).astype(np.float32))


@pytest.mark.parametrize("file", FILES)
def test_w_matches_the_original(file: str) -> None:
    checkpoint, reference = fixture(file)
    w, num_ws, psi = mapped(file), network(file).num_ws, float(reference["truncation_psi"])
    assert reference["ws"].shape[1:] == (num_ws, network(file).w_dim)
    # The same sums in float32 (bit-identical so far); truncation rounds in another order, by 2^-23 of values up to 6.
    np.testing.assert_allclose(w[:, None].repeat(num_ws, 1), reference["ws"], rtol=0, atol=1e-5)
    w_avg = checkpoint.tensors["w_avg"]
    np.testing.assert_allclose(truncate(w, w_avg, num_ws, psi), reference["ws_truncated"], rtol=0, atol=1e-5)
    if "ws_truncated_cutoff3" in reference:
        found = truncate(w, w_avg, num_ws, psi, cutoff=3)
        np.testing.assert_allclose(found, reference["ws_truncated_cutoff3"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [1, 3, 4])
def test_the_picture_matches_the_original(file: str, form: Form, n: int) -> None:
    reference = fixture(file)[1]
    net = network(file, form)
    found = synthesised(net, torch.from_numpy(reference["ws_truncated"][:n])).numpy()
    expected = reference["image"][:n]
    assert found.dtype == np.float32
    assert found.shape == (n, 3, net.resolution, net.resolution)
    # Float32 sums of some hundred products in another order, over 10 layers: 2e-6 to 5e-6 of the standard deviation
    # were measured; a wrong epsilon, border or filter gives 1e-3 or more.
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-5 * reference["image"].std())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("img_channels", [1, 3, 4])
@pytest.mark.parametrize("conv_clamp", [None, 0.8])
def test_both_forms_make_the_same_picture(architecture: str, img_channels: int, conv_clamp: float | None) -> None:
    checkpoint = random_checkpoint(architecture, 16, img_channels, conv_clamp)
    grouped, inference = (StyleGAN2.from_checkpoint(checkpoint, form) for form in FORMS)
    ws = random_ws(grouped)
    expected = synthesised(grouped, ws)
    assert expected.shape == (3, img_channels, 16, 16)
    assert expected.std() > 0.2
    # Sums of about 100 products in another order over 8 layers, at values around 1: a few 1e-6.
    torch.testing.assert_close(synthesised(inference, ws), expected, rtol=0, atol=2e-5)


def test_the_branches_of_a_residual_block_are_clamped_before_their_gain() -> None:
    net = StyleGAN2.from_checkpoint(random_checkpoint("resnet", conv_clamp=0.8))
    peaks: list[float] = []
    for block in net.blocks:
        for conv in (block.conv0, block.conv1):
            if isinstance(conv, torch.nn.Module):
                conv.register_forward_hook(lambda _, __, x: peaks.append(x.abs().max().item()))
    synthesised(net, random_ws(net))
    # conv1 of 4x4, which has no branch; then conv0 and conv1 of 8x8 and 16x16.
    assert peaks == pytest.approx([0.8, 0.8, 0.8 * 0.5**0.5, 0.8, 0.8 * 0.5**0.5], rel=1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_row_does_not_depend_on_its_neighbours(architecture: str, form: Form) -> None:
    net = StyleGAN2.from_checkpoint(random_checkpoint(architecture), form)
    ws = random_ws(net, 4)
    together = synthesised(net, ws)
    for row in range(4):
        # Another batch size may sum in another order.
        torch.testing.assert_close(synthesised(net, ws[row : row + 1])[0], together[row], rtol=0, atol=2e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_smallest_network_matches_the_paper_s_equations(form: Form) -> None:
    # 4x4 has one convolution and one RGB head: equations 1 and 3 as sums over every index, in float64.
    checkpoint = random_checkpoint("skip", 4, conv_clamp=0.9)
    net = StyleGAN2.from_checkpoint(checkpoint, form)
    ws = random_ws(net)
    t = {name.removeprefix("synthesis.b4."): array.astype(np.float64) for name, array in checkpoint.tensors.items()}
    w = ws.numpy().astype(np.float64)
    style = w[:, 0] @ t["conv1.affine.weight"].T + t["conv1.affine.bias"]
    weight = np.einsum("oiyx,ni->noiyx", t["conv1.weight"], style)
    weight /= np.sqrt((weight**2).sum(axis=(2, 3, 4), keepdims=True) + 1e-8)
    wide = np.pad(t["synthesis.input"], [(0, 0), (0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(wide[0], (3, 3), axis=(1, 2))  # [I, 4, 4, 3, 3]
    x = np.einsum("noiyx,irsyx->nors", weight, windows) + t["conv1.noise_const"] * t["conv1.noise_strength"]
    x += t["conv1.bias"][:, None, None]
    x = np.clip(np.where(x < 0, 0.2 * x, x) * np.sqrt(2), -0.9, 0.9)
    style = w[:, 1] @ t["torgb.affine.weight"].T + t["torgb.affine.bias"]
    image = np.einsum("oi,ni,nirs->nors", t["torgb.weight"][:, :, 0, 0], style, x)
    unclamped = image + t["torgb.bias"][:, None, None]
    expected = np.clip(unclamped, -0.9, 0.9)
    assert (x == 0.9).any()
    assert (expected != unclamped).any()
    # Float32 against float64, about 100 products at values around 1.
    np.testing.assert_allclose(synthesised(net, ws).numpy(), expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize("form", FORMS)
def test_an_upsampling_convolution_is_a_convolution_of_the_stretched_picture(form: Form) -> None:
    random = np.random.RandomState(0)
    x, weight, styles = (torch.from_numpy(random.randn(*shape)) for shape in ((2, 3, 5, 5), (4, 3, 3, 3), (2, 3)))
    stretched = torch.zeros(2, 3, 11, 11, dtype=torch.float64)
    stretched[:, :, 1:10:2, 1:10:2] = x
    stretched = functional.pad(stretched, (1, 1, 1, 1))
    # A mathematical convolution, like the FIR filter after it. PyTorch's operator correlates, hence the flip.
    rows = [
        functional.conv2d(row[None], (weight * style[:, None, None]).flip(2, 3))[0]
        for row, style in zip(stretched, styles, strict=True)
    ]
    expected = torch.stack(rows)
    expected /= (weight * styles[:, None, :, None, None]).square().sum(dim=(2, 3, 4)).sqrt()[:, :, None, None]
    found = ModulatedConv(weight, up=True, form=form)(x, styles)
    # Float64; only demodulation's epsilon of 1e-8 differs.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


def test_orig_is_skip_with_only_the_last_rgb() -> None:
    skip = random_checkpoint("skip")
    silent = {
        name: np.zeros_like(array) if "torgb.weight" in name or "torgb.bias" in name else array
        for name, array in skip.tensors.items()
    }
    silent |= {name: array for name, array in skip.tensors.items() if name.startswith("synthesis.b16.torgb")}
    expected = StyleGAN2.from_checkpoint(replace(skip, tensors=silent))
    found = StyleGAN2.from_checkpoint(replace(skip, config={**skip.config, "architecture": "orig"}))
    ws = random_ws(expected)
    # Only zeros are added.
    assert torch.equal(synthesised(found, ws), synthesised(expected, ws))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_layer_reads_its_own_w(architecture: str) -> None:
    layout = {
        "b4.conv1": 0, "b4.torgb": 1, "b8.conv0": 1, "b8.conv1": 2, "b8.torgb": 3,
        "b16.conv0": 3, "b16.conv1": 4, "b16.torgb": 5,
    }  # fmt: skip
    checkpoint = random_checkpoint(architecture)
    layers = [layer for layer in layout if f"synthesis.{layer}.weight" in checkpoint.tensors]
    assert len(layers) == {"skip": 8, "orig": 6, "resnet": 6}[architecture]
    for layer in layers:
        # Only this layer's style depends on w.
        only = {
            name: np.zeros_like(array)
            if name.endswith("affine.weight") and name != f"synthesis.{layer}.affine.weight"
            else array
            for name, array in checkpoint.tensors.items()
        }
        net = StyleGAN2.from_checkpoint(replace(checkpoint, tensors=only))
        ws = random_ws(net, 1)
        before = synthesised(net, ws)
        for index in range(net.num_ws):
            changed = ws.clone()
            changed[:, index] += 1
            assert torch.equal(synthesised(net, changed), before) == (index != layout[layer]), (layer, index)


def test_noise_is_constant_by_default() -> None:
    file = "sg2ada_64.pkl"
    net, checkpoint = network(file), fixture(file)[0]
    assert net.noise_shapes == {"b4.conv1": (1, 4, 4)} | {
        f"b{size}.{conv}": (1, size, size) for size in (8, 16, 32, 64) for conv in ("conv0", "conv1")
    }
    ws = random_ws(net, 2)
    const = synthesised(net, ws)
    assert torch.equal(synthesised(net, ws, noise_mode="const"), const)
    own = {
        name: torch.tensor(checkpoint.tensors[f"synthesis.{name}.noise_const"]).expand(2, *shape)
        for name, shape in net.noise_shapes.items()
    }
    # Equal inputs give equal sums.
    assert torch.equal(synthesised(net, ws, noise=own, noise_mode="random"), const)
    zero = {name: torch.zeros(2, *shape) for name, shape in net.noise_shapes.items()}
    none = synthesised(net, ws, noise_mode="none")
    assert torch.equal(synthesised(net, ws, noise=zero), none)
    assert (none - const).abs().max() > 0.01


def test_random_noise_comes_from_pytorch_and_differs_between_rows() -> None:
    net = StyleGAN2.from_checkpoint(random_checkpoint("skip"))
    ws = random_ws(net, 1).expand(2, -1, -1)
    torch.manual_seed(3)
    first = synthesised(net, ws, noise_mode="random")
    assert (first[0] - first[1]).abs().max() > 0.01
    assert (first - synthesised(net, ws, noise_mode="random")).abs().max() > 0.01
    torch.manual_seed(3)
    drawn = {name: torch.randn(2, *shape) for name, shape in net.noise_shapes.items()}
    assert torch.equal(synthesised(net, ws, noise=drawn), first)


@pytest.mark.parametrize("form", FORMS)
def test_given_noise_is_multiplied_by_the_layer_s_strength(form: Form) -> None:
    checkpoint = random_checkpoint("resnet")
    net = StyleGAN2.from_checkpoint(checkpoint, form)
    ws = random_ws(net, 2)
    noise = torch.from_numpy(np.random.RandomState(2).randn(2, 1, 8, 8).astype(np.float32))
    strength = "synthesis.b8.conv0.noise_strength"
    twice = {**checkpoint.tensors, strength: 2 * checkpoint.tensors[strength]}
    loud = StyleGAN2.from_checkpoint(replace(checkpoint, tensors=twice), form)
    found = synthesised(loud, ws, noise={"b8.conv0": noise})
    # A factor of 2 is exact in float32.
    assert torch.equal(found, synthesised(net, ws, noise={"b8.conv0": 2 * noise}))
    # The other layers keep their own noise.
    assert not torch.equal(found, synthesised(loud, ws, noise={"b8.conv0": noise}, noise_mode="none"))
    assert not torch.equal(found, synthesised(loud, ws))


def test_noise_for_an_unknown_layer_is_refused() -> None:
    net = StyleGAN2.from_checkpoint(random_checkpoint("skip"))
    with pytest.raises(InvalidRequestError, match=r"noise: the network has no layer b4\.conv0"):
        net.synthesis(random_ws(net), noise={"b4.conv0": torch.zeros(3, 1, 4, 4)})
    with pytest.raises(InvalidRequestError, match="noise_mode: 'loud' is not const"):
        net.synthesis(random_ws(net), noise_mode="loud")  # type: ignore[arg-type]


def test_a_conditional_network_needs_its_class() -> None:
    file = "sg2ada_cond_32.pkl"
    net, reference = network(file), fixture(file)[1]
    assert (net.z_dim, net.c_dim, net.w_dim, net.num_ws, net.resolution) == (48, 5, 64, 8, 32)
    z = torch.from_numpy(reference["z"])
    with pytest.raises(InvalidRequestError, match="c: the network needs a class vector of 5 numbers"):
        net.mapping(z)
    with torch.inference_mode():
        ws = [net.mapping(z[:1], row[None]) for row in torch.eye(5)]
    assert min((a - b).abs().max().item() for i, a in enumerate(ws) for b in ws[:i]) > 0.1


def test_an_unconditional_network_takes_no_class() -> None:
    net = StyleGAN2.from_checkpoint(random_checkpoint("skip"))
    assert net.c_dim == 0
    with pytest.raises(InvalidRequestError, match="c: the network has no classes"):
        net.mapping(torch.zeros(1, 5), torch.zeros(1, 2))


def test_the_whole_network_is_mapping_then_synthesis() -> None:
    net = network("sg2ada_cond_32.pkl")
    reference = fixture("sg2ada_cond_32.pkl")[1]
    z, c = (torch.from_numpy(reference[key]) for key in ("z", "c"))
    with torch.inference_mode():
        ws = net.mapping(z, c)[:, None].repeat(1, net.num_ws, 1)
        assert torch.equal(net(z, c), net.synthesis(ws))
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert not net.training


def test_a_saved_checkpoint_gives_the_same_picture(tmp_path: Path) -> None:
    checkpoint = random_checkpoint("resnet")
    checkpoint.save(tmp_path / "converted")
    net, read = (
        StyleGAN2.from_checkpoint(checkpoint),
        StyleGAN2.from_checkpoint(Checkpoint.load(tmp_path / "converted")),
    )
    assert torch.equal(synthesised(read, random_ws(net)), synthesised(net, random_ws(net)))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"family": "stylegan3"}, "family 'stylegan3', expected 'stylegan2'"),
        ({"resolution": 24}, "expected a power of two"),
        ({"resolution": 2}, "expected a power of two"),
        ({"resolution": None}, "resolution is None"),
        ({"resolution": 32}, "channels has 3 blocks, a resolution of 32 needs 4"),
        ({"img_channels": 5}, "img_channels is 5"),
        ({"img_channels": 4}, "has shape"),
        ({"architecture": "unet"}, "architecture is 'unet'"),
        ({"architecture": "resnet"}, "no tensor 'synthesis.b8.skip.weight'"),
        ({"channels": [12, 10.0, 8]}, "channels is"),
        ({"channels": [12, 10, 9]}, "has shape"),
        ({"channels": None}, "channels is None"),
        ({"conv_clamp": -1}, "conv_clamp is -1"),
        ({"conv_clamp": float("nan")}, "conv_clamp is nan"),
        ({"conv_clamp": "256"}, "conv_clamp is '256'"),
        ({"resample_filter": [1, 3, 3, 1]}, "whose sum is not 1"),
        ({"resample_filter": []}, "resample_filter is []"),
        ({"num_ws": 18}, "num_ws is 18"),
        ({"c_dim": 3}, "no tensor 'mapping.embed.weight'"),
        ({"c_dim": -1}, "c_dim is -1"),
        ({"z_dim": True}, "z_dim is True"),
        ({"w_dim": 7}, "has shape"),
        ({"mapping_layers": 3}, "no tensor 'mapping.fc2.weight'"),
    ],
)
def test_an_invalid_config_is_refused(change: dict[str, object], problem: str) -> None:
    checkpoint = random_checkpoint("skip")
    with pytest.raises(CheckpointError) as caught:
        StyleGAN2.from_checkpoint(replace(checkpoint, config={**checkpoint.config, **change}))
    assert problem in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_tensor_is_checked(architecture: str) -> None:
    checkpoint = random_checkpoint(architecture)
    for name, array in checkpoint.tensors.items():
        shorter = array[..., :-1] if array.ndim else np.zeros((2,), np.float32)
        with pytest.raises(CheckpointError, match=f"'{name}' has shape"):
            StyleGAN2.from_checkpoint(replace(checkpoint, tensors={**checkpoint.tensors, name: shorter}))
        without = {other: kept for other, kept in checkpoint.tensors.items() if other != name}
        with pytest.raises(CheckpointError, match=f"no tensor '{name}'"):
            StyleGAN2.from_checkpoint(replace(checkpoint, tensors=without))


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="form is 'fast'"):
        StyleGAN2.from_checkpoint(random_checkpoint("skip"), "fast")  # type: ignore[arg-type]
