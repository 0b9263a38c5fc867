from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError
from nonesuch.engine.latents import z_from_seeds
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.graphs.mapping import build_mapping
from nonesuch.export.graphs.mobilestylegan import build_synthesis, ws_layout
from nonesuch.export.graphs.synthesis_builder import VariantOptions
from nonesuch.export.reference.mobilestylegan import InverseHaar, MobileStyleGAN, ShufflingInverseHaar
from nonesuch.export.reference.rendering import to_uint8

RunGraph = Callable[..., NDArray[Any]]


@pytest.fixture(scope="module")
def network(checkpoint: Checkpoint) -> MobileStyleGAN:
    return MobileStyleGAN.from_checkpoint(checkpoint)


def styles(n: int) -> NDArray[np.float32]:
    """Return a different w for every layer of every row, so that exchanged layers are detected."""
    return np.random.RandomState(0).randn(n, 8, 12).astype(np.float32)


@pytest.mark.parametrize("n", [1, 3, 4])
def test_onnx_and_pytorch_agree_on_the_picture(
    checkpoint: Checkpoint, network: MobileStyleGAN, run_graph: RunGraph, n: int
) -> None:
    ws = styles(n)
    found = run_graph(build_synthesis(checkpoint, VariantOptions(output="float32_nchw")), ws=ws)
    with torch.inference_mode():
        expected = network.synthesis(torch.from_numpy(ws)).numpy()
    assert found.shape == expected.shape == (n, 3, 32, 32)
    assert expected.std() > 0.3
    # Both are float32; sums of up to 144 products run in another order, and some factors are folded into weights: a few
    # 1e-6 over about 10 layers and values up to 4. 2e-5 leaves room for other processors; it is 1/400 of a level.
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("n", [1, 3, 4])
def test_onnx_and_pytorch_agree_on_the_uint8_picture(
    checkpoint: Checkpoint, network: MobileStyleGAN, run_graph: RunGraph, n: int
) -> None:
    ws = styles(n)
    found = run_graph(build_synthesis(checkpoint, VariantOptions()), ws=ws)
    with torch.inference_mode():
        expected = to_uint8(network.synthesis(torch.from_numpy(ws))).numpy()
    # A value on the border between two levels may round differently.
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


def test_onnx_and_pytorch_agree_on_w(checkpoint: Checkpoint, network: MobileStyleGAN, run_graph: RunGraph) -> None:
    z = z_from_seeds(range(5), 10)
    with torch.inference_mode():
        expected = network.mapping(torch.from_numpy(z)).numpy()
    # Two layers of 12 products each at values around 1: about 30 roundings of 2^-24.
    np.testing.assert_allclose(run_graph(build_mapping(checkpoint), z=z), expected, rtol=0, atol=1e-5)


def test_the_whole_network_is_mapping_then_synthesis(network: MobileStyleGAN) -> None:
    z = torch.from_numpy(z_from_seeds([3], 10))
    with torch.inference_mode():
        ws = network.mapping(z)[:, None].repeat(1, 8, 1)
        torch.testing.assert_close(network(z), network.synthesis(ws), rtol=0, atol=0)


def test_the_reference_has_as_many_styles_as_the_graph(checkpoint: Checkpoint, network: MobileStyleGAN) -> None:
    assert network.num_ws == len(ws_layout(checkpoint))
    assert network.resolution == 32
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network.training


def test_the_inverse_transform_inverts_the_haar_transform() -> None:
    picture = torch.from_numpy(np.random.RandomState(0).randn(2, 3, 8, 8).astype(np.float32))
    a, b, c, d = (picture[..., i::2, j::2] for i in (0, 1) for j in (0, 1))
    low = (a + b + c + d) / 2
    details = torch.stack([a + b - c - d, a - b + c - d, a - b - c + d], dim=2) / 2
    bands = torch.cat([low, details.flatten(1, 2)], dim=1)
    # Sums of four values around 1: a handful of roundings of 2^-23.
    torch.testing.assert_close(InverseHaar(3)(bands), picture, rtol=0, atol=1e-6)


def test_both_forms_of_the_inverse_transform_agree() -> None:
    bands = torch.from_numpy(np.random.RandomState(0).randn(2, 3, 4, 8, 8).astype(np.float32))  # [N, C, band, R, R]
    separate = torch.cat([bands[:, :, 0], bands[:, :, 1:].flatten(1, 2)], dim=1)
    interleaved = bands.flatten(1, 2)
    # Sums of four values around 1: a handful of roundings of 2^-23.
    torch.testing.assert_close(ShufflingInverseHaar(3)(interleaved), InverseHaar(3)(separate), rtol=0, atol=1e-6)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("noise_mode", ["const", "none"])
def test_both_forms_show_the_same_picture(
    checkpoint: Checkpoint, network: MobileStyleGAN, layout: torch.memory_format, noise_mode: Any
) -> None:
    other = MobileStyleGAN.from_checkpoint(checkpoint, "inference").to(memory_format=layout)  # type: ignore[call-overload]
    ws = torch.from_numpy(styles(3))
    with torch.inference_mode():
        found, expected = (net.synthesis(ws, noise_mode) for net in (other, network))
    # As between ONNX and PyTorch above: the same sums in another order.
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
    assert {type(block.up) for block in other.blocks} == {ShufflingInverseHaar}


def test_the_inference_form_changes_no_checkpoint(checkpoint: Checkpoint) -> None:
    before = {name: array.copy() for name, array in checkpoint.tensors.items()}
    MobileStyleGAN.from_checkpoint(checkpoint, "inference")
    for name, array in checkpoint.tensors.items():
        np.testing.assert_array_equal(array, before[name])


def test_an_unknown_form_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(ValueError, match="'grouped' or 'inference'"):
        MobileStyleGAN.from_checkpoint(checkpoint, "fast")  # type: ignore[arg-type]


def test_to_uint8_truncates_and_clamps() -> None:
    values = torch.tensor([-9.0, -1.01, -1.0, 0.0, 0.99, 0.996, 1.0, 9.0])
    image = to_uint8(values[None, None, None].repeat(1, 3, 1, 1))
    assert image.shape == (1, 1, 8, 3)
    # trunc(127.5 x + 128): -1 gives 0.5, 0.99 gives 254.2, 0.996 gives 254.99.
    assert image[0, 0, :, 0].tolist() == [0, 0, 0, 128, 254, 254, 255, 255]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"family": "stylegan9"}, "family 'stylegan9', expected 'mobilestylegan'"),
        ({"img_channels": 1}, "img_channels is 1"),
        ({"channels": [16]}, "channels is"),
        ({"channels": "16"}, "channels is"),
        ({"channels": [16, -8, 4]}, "channels is"),
        ({"channels": [18, 8, 4]}, "must divide by 4"),
        ({"resolution": 33}, "not a multiple of 2"),
        ({"resolution": None}, "resolution is None"),
        ({"w_dim": 13}, "has shape"),
        ({"z_dim": True}, "z_dim is True"),
        ({"mapping_layers": 3}, "no tensor 'mapping.fc2.weight'"),
    ],
)
def test_an_invalid_config_is_refused(checkpoint: Checkpoint, change: dict[str, object], problem: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        MobileStyleGAN.from_checkpoint(replace(checkpoint, config={**checkpoint.config, **change}))
    assert problem in caught.value.message
    assert "\n" not in caught.value.message


def test_every_tensor_is_checked(checkpoint: Checkpoint) -> None:
    for name in checkpoint.tensors:
        wrong = replace(checkpoint, tensors={**checkpoint.tensors, name: checkpoint.tensors[name][..., :-1]})
        with pytest.raises(CheckpointError, match=f"'{name}' has shape"):
            MobileStyleGAN.from_checkpoint(wrong)
