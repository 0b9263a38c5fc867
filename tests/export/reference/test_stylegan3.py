from __future__ import annotations

import copy
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

from nonesuch.engine.errors import CheckpointError, InvalidRequestError
from nonesuch.engine.latents import truncate
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.formats.detect import read_checkpoint
from nonesuch.export.reference.modulated_conv import Form
from nonesuch.export.reference.stylegan3 import StyleGAN3

FIXTURES = Path(__file__).parents[2] / "fixtures"
FILES = ["sg3t_64.pkl", "sg3r_64.pkl"]
FORMS: list[Form] = ["grouped", "inference"]
SIZE = 64
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
def network(file: str, form: Form = "grouped") -> StyleGAN3:
    return StyleGAN3.from_checkpoint(fixture(file)[0], form)


def synthesised(net: StyleGAN3, ws: torch.Tensor, transform: torch.Tensor | None = None) -> torch.Tensor:
    with torch.inference_mode():
        return net.synthesis(ws, transform)


def mixed_ws(file: str, n: int = 2) -> torch.Tensor:
    """Return plausible styles, different for every layer of every row, so that exchanged layers are detected."""
    ws = fixture(file)[1]["ws"]
    order = np.random.RandomState(0).randint(len(ws), size=(n, ws.shape[1]))
    return torch.from_numpy(ws[order, np.arange(ws.shape[1])])


def transforms(n: int, x: float = 0.0, y: float = 0.0, angle: float = 0.0) -> torch.Tensor:
    """Return [n, 3, 3]: rotate by the angle (radians), then shift by (x, y) in sides of the picture."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return torch.tensor([[cosine, -sine, x], [sine, cosine, y], [0, 0, 1]]).repeat(n, 1, 1)


@pytest.mark.parametrize("file", FILES)
def test_w_matches_the_original(file: str) -> None:
    checkpoint, reference = fixture(file)
    net, psi = network(file), float(reference["truncation_psi"])
    with torch.inference_mode():
        w = net.mapping(torch.from_numpy(reference["z"])).numpy()
    assert reference["ws"].shape[1:] == (net.num_ws, net.w_dim) == (16, 64)
    # The same sums in float32 (bit-identical so far); truncation rounds in another order, by 2^-23 of values up to 6.
    np.testing.assert_allclose(w[:, None].repeat(net.num_ws, 1), reference["ws"], rtol=0, atol=1e-5)
    w_avg = checkpoint.tensors["w_avg"]
    np.testing.assert_allclose(truncate(w, w_avg, 16, psi), reference["ws_truncated"], rtol=0, atol=1e-5)
    found = truncate(w, w_avg, 16, psi, cutoff=3)
    np.testing.assert_allclose(found, reference["ws_truncated_cutoff3"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [1, 3, 4])
def test_the_picture_matches_the_original(file: str, form: Form, n: int) -> None:
    reference = fixture(file)[1]
    found = synthesised(network(file, form), torch.from_numpy(reference["ws_truncated"][:n])).numpy()
    assert found.dtype == np.float32
    assert found.shape == (n, 3, SIZE, SIZE)
    # Float32 sums of some hundreds of products in another order, over 15 layers: 5e-6 to 7e-6 of the standard deviation
    # were measured. The original's normalisation of styles over the batch adds less than demodulation's epsilon, 1e-8.
    np.testing.assert_allclose(found, reference["image"][:n], rtol=0, atol=5e-5 * reference["image"].std())


@pytest.mark.parametrize("file", FILES)
def test_both_forms_make_the_same_picture(file: str) -> None:
    ws = mixed_ws(file, 3)
    expected = synthesised(network(file), ws)
    atol = 5e-5 * expected.std().item()  # rounding, as above
    torch.testing.assert_close(synthesised(network(file, "inference"), ws), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("form", FORMS)
def test_a_row_does_not_depend_on_its_neighbours(file: str, form: Form) -> None:
    # Rows with very different styles: each is divided by its own magnitude.
    ws = mixed_ws(file, 3) * torch.tensor([1.0, 10.0, 0.1])[:, None, None]
    together = synthesised(network(file, form), ws)
    for row in range(3):
        alone = synthesised(network(file, form), ws[row : row + 1])[0]
        torch.testing.assert_close(alone, together[row], rtol=0, atol=5e-5 * alone.std().item())  # rounding


@pytest.mark.parametrize("file", FILES)
def test_each_layer_reads_its_own_w(file: str) -> None:
    net = StyleGAN3.from_checkpoint(fixture(file)[0])
    read: list[torch.Tensor] = []
    for layer in (net.input, *net.layers):
        layer.get_submodule("affine").register_forward_hook(lambda _, inputs, __: read.append(inputs[0]))
    ws = torch.from_numpy(np.random.RandomState(0).randn(1, 16, 64).astype(np.float32))
    synthesised(net, ws)
    assert torch.equal(torch.stack(read, dim=1), ws)


@pytest.mark.parametrize("file", FILES)
def test_the_identity_is_the_default(file: str) -> None:
    ws = mixed_ws(file)
    default = synthesised(network(file), ws)
    assert torch.equal(synthesised(network(file), ws, torch.eye(3).repeat(2, 1, 1)), default)
    assert torch.equal(synthesised(network(file), ws, torch.eye(3)), default)


def test_a_transform_replaces_the_checkpoint_s_own() -> None:
    checkpoint, _ = fixture("sg3t_64.pkl")
    turned = transforms(1, 0.1, -0.2, 0.3)
    tensors = {**checkpoint.tensors, "synthesis.input.transform": turned[0].numpy()}
    own, plain = StyleGAN3.from_checkpoint(replace(checkpoint, tensors=tensors)), network("sg3t_64.pkl")
    ws = mixed_ws("sg3t_64.pkl", 1)
    assert torch.equal(synthesised(own, ws), synthesised(plain, ws, turned))
    assert torch.equal(synthesised(own, ws, torch.eye(3)), synthesised(plain, ws))
    assert (synthesised(own, ws) - synthesised(plain, ws)).abs().max() > 0.01


@pytest.mark.parametrize(
    ("file", "margin", "tolerance"),
    # A shift of 4 pixels moves every layer's grid by whole samples, so only rounding and effects of the borders differ;
    # those of 3x3 kernels reach further than those of 1x1.
    [("sg3t_64.pkl", 20, 5e-4), ("sg3r_64.pkl", 12, 5e-5)],
)
@pytest.mark.parametrize("form", FORMS)
def test_a_shift_moves_the_picture(file: str, margin: int, tolerance: float, form: Form) -> None:
    ws = torch.from_numpy(fixture(file)[1]["ws_truncated"][:2])
    base = synthesised(network(file, form), ws)
    for axis, shift in ((3, {"x": 4 / SIZE}), (2, {"y": 4 / SIZE})):
        moved = synthesised(network(file, form), ws, transforms(2, **shift))
        # The pixel at p now shows the former p + shift.
        inner = slice(margin, SIZE - margin)
        found = moved[:, :, inner, inner]
        expected = base.roll(-4, dims=axis)[:, :, inner, inner]
        atol = tolerance * base.std().item()
        torch.testing.assert_close(found, expected, rtol=0, atol=atol)
        # The opposite shift would differ far more.
        assert (found - base.roll(4, dims=axis)[:, :, inner, inner]).abs().max() > 100 * atol


@pytest.mark.parametrize("file", FILES)
def test_a_shift_by_a_fraction_of_a_sample_moves_the_picture(file: str) -> None:
    # One pixel is a quarter of an input sample: this works only because the layers have little aliasing.
    ws = torch.from_numpy(fixture(file)[1]["ws_truncated"][:2])
    base, moved = (synthesised(network(file), ws, transforms(2, x=x)) for x in (0.0, 1 / SIZE))
    found, expected, still = (image[:, :, 20:44, 20:44] for image in (moved, base.roll(-1, dims=3), base))
    # Measured: 0.4e-3 of the standard deviation, against 25e-3 for a picture that does not move.
    assert (found - expected).square().mean().sqrt() < 1e-3 * base.std()
    assert (found - still).square().mean().sqrt() > 1e-2 * base.std()


def test_r_rotates_the_picture() -> None:
    # A right angle maps samples to samples, and 1x1 kernels and radial filters have no direction.
    file = "sg3r_64.pkl"
    ws = torch.from_numpy(fixture(file)[1]["ws_truncated"][:2])
    base = synthesised(network(file), ws)
    turned = synthesised(network(file), ws, transforms(2, angle=math.pi / 2))
    # Rounding; 4e-6 was measured.
    torch.testing.assert_close(turned, base.rot90(1, (2, 3)), rtol=0, atol=5e-5 * base.std().item())
    assert (turned - base.rot90(-1, (2, 3))).abs().max() > base.std()


def test_waves_above_the_nyquist_frequency_fade() -> None:
    # Ten times as many waves in the picture: frequencies above 0.8, most of them, exceed the limit of 8.
    net = network("sg3t_64.pkl")
    ws = mixed_ws("sg3t_64.pkl")
    shrunk = torch.diag(torch.tensor([10.0, 10.0, 1.0]))
    with torch.inference_mode():
        features, few = net.input(ws[:, 0], None), net.input(ws[:, 0], shrunk)
        none = net.input(ws[:, 0], torch.diag(torch.tensor([1e4, 1e4, 1.0])))
    assert 0.01 * features.std() < few.std() < 0.5 * features.std()
    assert not none.any()


def test_the_input_matches_the_paper_s_waves() -> None:
    # Each wave at each point, in float64, from the complete matrix.
    checkpoint, net = fixture("sg3r_64.pkl")[0], network("sg3r_64.pkl")
    t = {name.removeprefix("synthesis.input."): a.astype(np.float64) for name, a in checkpoint.tensors.items()}
    shape = checkpoint.config["input"]
    ws, user = mixed_ws("sg3r_64.pkl"), transforms(2, 0.1, -0.2, 0.3) * torch.tensor([[1.2], [1.2], [1.0]])
    with torch.inference_mode():
        found = net.input(ws[:, 0], user).numpy()
    positions = (np.arange(shape["size"]) + 0.5 - shape["size"] / 2) / shape["sampling_rate"]
    points = np.stack(
        [*np.meshgrid(positions, positions), np.ones((len(positions),) * 2)]
    )  # [3, rows, columns]: x, y, 1
    for row in range(2):
        cosine, sine, x, y = (
            own := t["affine.weight"] @ ws[row, 0].numpy().astype(np.float64) + t["affine.bias"]
        ) / np.hypot(own[0], own[1])
        matrix = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        matrix = matrix @ np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]]) @ user[row].numpy().astype(np.float64)
        moved = np.einsum("ij,jrc->irc", matrix, points)[:2]
        waves = np.sin(2 * np.pi * (np.einsum("kj,jrc->krc", t["freqs"], moved) + t["phases"][:, None, None]))
        length = np.linalg.norm(t["freqs"] @ matrix[:2, :2], axis=1)
        fade = 1 - (length - shape["bandwidth"]) / (shape["sampling_rate"] / 2 - shape["bandwidth"])
        expected = np.einsum("ok,krc->orc", t["weight"], waves * fade.clip(0, 1)[:, None, None])
        # Float32 against float64: angles up to about 30 rad are accurate to 2e-6, and 32 waves are summed.
        np.testing.assert_allclose(found[row], expected, rtol=0, atol=3e-5)


def test_a_conditional_network_uses_its_class() -> None:
    plain = fixture("sg3t_64.pkl")[0]
    random = np.random.RandomState(0)
    tensors: dict[str, NDArray[np.float32]] = {
        **plain.tensors,
        "mapping.embed.weight": random.randn(64, 3).astype(np.float32),
        "mapping.embed.bias": random.randn(64).astype(np.float32),
        "mapping.fc0.weight": (random.randn(64, 128) / 12).astype(np.float32),
    }
    net = StyleGAN3.from_checkpoint(Checkpoint({**plain.config, "c_dim": 3}, tensors))
    z, c = torch.from_numpy(random.randn(3, 64).astype(np.float32)), torch.eye(3)
    assert net.c_dim == 3
    with pytest.raises(InvalidRequestError, match="c: the network needs a class vector of 3 numbers"):
        net.mapping(z)

    def unit(rows: NDArray[Any]) -> NDArray[Any]:
        normed: NDArray[Any] = rows / np.sqrt((rows**2).mean(axis=1, keepdims=True) + 1e-8)
        return normed

    t = {name: array.astype(np.float64) for name, array in tensors.items()}
    embedded = t["mapping.embed.weight"].T + t["mapping.embed.bias"]  # the rows of a one-hot c
    x = np.concatenate([unit(z.numpy().astype(np.float64)), unit(embedded)], axis=1)
    for layer in ("fc0", "fc1"):
        x = x @ t[f"mapping.{layer}.weight"].T + t[f"mapping.{layer}.bias"]
        x = np.where(x < 0, 0.2 * x, x) * np.sqrt(2)
    with torch.inference_mode():
        found = net.mapping(z, c)
        assert net(z, c).shape == (3, 3, SIZE, SIZE)
    # Float32 against float64: 128 products at values of a few units.
    np.testing.assert_allclose(found.numpy(), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("file", FILES)
def test_the_whole_network_is_mapping_then_synthesis(file: str) -> None:
    net, z = network(file), torch.from_numpy(fixture(file)[1]["z"][:2])
    with torch.inference_mode():
        assert torch.equal(net(z), net.synthesis(net.mapping(z)[:, None].repeat(1, 16, 1)))
    assert (net.z_dim, net.c_dim, net.resolution) == (64, 0, SIZE)
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert not net.training
    with pytest.raises(InvalidRequestError, match="c: the network has no classes"):
        net.mapping(z, torch.zeros(2, 1))


def test_a_saved_checkpoint_gives_the_same_picture(tmp_path: Path) -> None:
    fixture("sg3r_64.pkl")[0].save(tmp_path / "converted")
    read = StyleGAN3.from_checkpoint(Checkpoint.load(tmp_path / "converted"))
    ws = mixed_ws("sg3r_64.pkl", 1)
    assert torch.equal(synthesised(read, ws), synthesised(network("sg3r_64.pkl"), ws))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"family": "stylegan2"}, "family 'stylegan2', expected 'stylegan3'"),
        ({"resolution": 128}, "the last layer makes 3 channels of 64, but the picture has 3 of 128"),
        ({"img_channels": 1}, "the last layer makes 3 channels of 64, but the picture has 1 of 64"),
        ({"output_scale": 0}, "output_scale is 0"),
        ({"conv_clamp": "256"}, "conv_clamp is '256'"),
        ({"layers": []}, "layers is []"),
        ({"layers": [7]}, "layer 0 is 7"),
        ({"input": None}, "input is None"),
        ({"num_ws": 15}, "num_ws is 15"),
        ({"w_dim": 65}, "has shape"),
        ({"mapping_layers": 3}, "no tensor 'mapping.fc2.weight'"),
        ({"c_dim": 2}, "no tensor 'mapping.embed.weight'"),
    ],
)
def test_an_invalid_config_is_refused(change: dict[str, object], problem: str) -> None:
    checkpoint = fixture("sg3t_64.pkl")[0]
    refused(replace(checkpoint, config={**checkpoint.config, **change}), problem)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"in_size": 35}, "layer 4 takes 32 channels of 35, but gets 32 of 36"),
        ({"in_channels": 31}, "layer 4 takes 31 channels of 36, but gets 32 of 36"),
        ({"up_factor": 2}, "layer 4 has"),
        ({"down_factor": 1}, "layer 4 has"),
        ({"padding": [-6, -9, -6, -8]}, "layer 4 has"),
        ({"padding": [-6, -9]}, "padding of layer 4 is"),
        ({"padding": [-6, -9, -6, -9.0]}, "padding of layer 4 is"),
        ({"conv_kernel": 0}, "conv_kernel is 0"),
        ({"conv_kernel": 1}, "has shape"),
        ({"is_torgb": 0}, "is_torgb of layer 4 is 0"),
        ({"out_size": None}, "out_size is None"),
    ],
)
def test_an_invalid_layer_is_refused(change: dict[str, object], problem: str) -> None:
    checkpoint = fixture("sg3t_64.pkl")[0]
    config = copy.deepcopy(dict(checkpoint.config))
    config["layers"][4].update(change)
    refused(replace(checkpoint, config=config), problem)


def refused(checkpoint: Checkpoint, problem: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        StyleGAN3.from_checkpoint(checkpoint)
    assert problem in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("file", FILES)
def test_every_tensor_is_checked(file: str) -> None:
    checkpoint = fixture(file)[0]
    for name, array in checkpoint.tensors.items():
        if name == "w_avg":  # for truncation; not part of the network
            continue
        shorter = array[..., :-1] if array.ndim else np.zeros((2,), np.float32)
        refused(replace(checkpoint, tensors={**checkpoint.tensors, name: shorter}), "")
        refused(replace(checkpoint, tensors={k: v for k, v in checkpoint.tensors.items() if k != name}), "")
