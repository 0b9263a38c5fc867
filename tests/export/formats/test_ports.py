"""Other ports: the same network under their names and in their orientation gives the same canonical tensors."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.formats.detect import read_checkpoint

from .forging import fixture_path

State = dict[str, torch.Tensor]


@pytest.fixture
def rosinality() -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(fixture_path("rosinality_64"), weights_only=True)
    return loaded


@pytest.fixture
def canonical() -> Checkpoint:
    return read_checkpoint(fixture_path("rosinality_64"))


def read(value: Any, folder: Path) -> Checkpoint:
    torch.save(value, folder / "model.pth")
    return read_checkpoint(folder / "model.pth")


def assert_same(found: Checkpoint, expected: Checkpoint, source_format: str) -> None:
    assert found.config == {**expected.config, "source_format": source_format}
    assert found.tensors.keys() == expected.tensors.keys()
    for name, array in expected.tensors.items():
        np.testing.assert_array_equal(found.tensors[name], array, err_msg=name)


def without_average(checkpoint: Checkpoint) -> Checkpoint:
    kept = {name: array for name, array in checkpoint.tensors.items() if name != "w_avg"}
    return Checkpoint(checkpoint.config, kept)


def as_basicsr(state: State) -> State:
    """Rename tensors as in BasicSR's StyleGAN2Generator, which saves no filters."""
    renamed = {}
    for name, tensor in state.items():
        if name.endswith(".kernel"):
            continue
        name = re.sub(r"^style\.", "style_mlp.", name)
        name = re.sub(r"^noises\.noise_", "noises.noise", name)
        name = re.sub(r"^convs\.", "style_convs.", name)
        name = re.sub(r"^conv1\.", "style_conv1.", name)
        name = name.replace("input.input", "constant_input.weight").replace(".noise.weight", ".weight")
        renamed[name.replace(".conv.", ".modulated_conv.")] = tensor
    return renamed


def as_genforce(state: State, average: torch.Tensor) -> State:
    """Rename tensors as in GenForce's StyleGAN2Generator: up-convolutions flipped, styles without their 1."""
    renamed = {"truncation.w_avg": average.reshape(-1), "synthesis.early_layer.const": state["input.input"]}
    for index in range(8):
        for part in ("weight", "bias"):
            renamed[f"mapping.dense{index}.{part}"] = state[f"style.{index + 1}.{part}"]
    for index in range(9):
        name, target = (f"convs.{index - 1}" if index else "conv1"), f"synthesis.layer{index}"
        weight = state[f"{name}.conv.weight"][0]
        renamed[f"{target}.weight"] = weight.flip(2, 3) if index % 2 else weight
        renamed[f"{target}.bias"] = state[f"{name}.activate.bias"]
        renamed[f"{target}.style.weight"] = state[f"{name}.conv.modulation.weight"]
        renamed[f"{target}.style.bias"] = state[f"{name}.conv.modulation.bias"] - 1
        renamed[f"{target}.noise"] = state[f"noises.noise_{index}"]
        renamed[f"{target}.noise_strength"] = state[f"{name}.noise.weight"].reshape(())
        if index % 2:
            renamed[f"{target}.filter.kernel"] = state[f"{name}.conv.blur.kernel"][None, None]
    for index in range(5):
        name, target = (f"to_rgbs.{index - 1}" if index else "to_rgb1"), f"synthesis.output{index}"
        renamed[f"{target}.weight"] = state[f"{name}.conv.weight"][0]
        renamed[f"{target}.bias"] = state[f"{name}.bias"].reshape(-1)
        renamed[f"{target}.style.weight"] = state[f"{name}.conv.modulation.weight"]
        renamed[f"{target}.style.bias"] = state[f"{name}.conv.modulation.bias"] - 1
    renamed["synthesis.upsample.kernel"] = state["to_rgbs.0.upsample.kernel"][None, None]
    return renamed


def test_basicsr(rosinality: dict[str, Any], canonical: Checkpoint, tmp_path: Path) -> None:
    state = as_basicsr(rosinality["g_ema"])
    assert "style_convs.0.modulated_conv.modulation.weight" in state
    expected = without_average(canonical)  # BasicSR does not save it
    assert_same(read({"params": rosinality["g_ema"], "params_ema": state}, tmp_path), expected, "basicsr")
    assert_same(read({"params": state}, tmp_path), expected, "basicsr")


def test_genforce(rosinality: dict[str, Any], canonical: Checkpoint, tmp_path: Path) -> None:
    state = as_genforce(rosinality["g_ema"], rosinality["latent_avg"])
    found = read({"generator": {"other": torch.zeros(1)}, "generator_smooth": state}, tmp_path)
    assert found.config == {**canonical.config, "source_format": "genforce"}
    assert found.tensors.keys() == canonical.tensors.keys()
    for name, array in canonical.tensors.items():
        if name.endswith("affine.bias"):  # 1 was taken off and added again, at float32's spacing around 1
            np.testing.assert_allclose(found.tensors[name], array, atol=2e-7, err_msg=name)
        else:
            np.testing.assert_array_equal(found.tensors[name], array, err_msg=name)


def test_rosinality_training_and_release_files(
    rosinality: dict[str, Any], canonical: Checkpoint, tmp_path: Path
) -> None:
    state = rosinality["g_ema"]
    flat = rosinality["latent_avg"].reshape(1, -1)
    assert_same(read({"g_ema": state, "latent_avg": flat}, tmp_path), canonical, "rosinality")
    expected = without_average(canonical)  # training does not save it
    trained = {
        "g": {name: tensor * 2 for name, tensor in state.items()},
        "d": {"convs.0.0.weight": torch.zeros(3)},
        "g_ema": state,
        "g_optim": {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.002}]},
        "args": argparse.Namespace(size=64, path="data"),
        "ada_aug_p": 0.5,
    }
    assert_same(read(trained, tmp_path), expected, "rosinality")
    assert_same(read(state, tmp_path), expected, "rosinality")


def test_sizes_come_from_shapes(rosinality: dict[str, Any], canonical: Checkpoint, tmp_path: Path) -> None:
    # A pruned network has odd channel counts: here 32x32's conv1 loses all but 13 of its output channels.
    state = rosinality["g_ema"]
    state["convs.5.conv.weight"] = state["convs.5.conv.weight"][:, :13]
    state["convs.5.activate.bias"] = state["convs.5.activate.bias"][:13]
    for name in ("convs.6", "to_rgbs.2"):
        state[f"{name}.conv.weight"] = state[f"{name}.conv.weight"][:, :, :13]
        for part in ("weight", "bias"):
            state[f"{name}.conv.modulation.{part}"] = state[f"{name}.conv.modulation.{part}"][:13]
    found = read(rosinality, tmp_path)
    assert found.config["channels"] == [32, 32, 32, 13, 32]
    # The runtime gain is that of the remaining fan-in.
    weight = state["convs.6.conv.weight"][0].numpy() / np.sqrt(13 * 9)
    np.testing.assert_allclose(found.tensors["synthesis.b64.conv0.weight"], weight, rtol=1e-6)  # one rounding


Edit = Callable[[State], Any]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda s: s.pop("noises.noise_3"), "tensor 'noises.noise_3' is missing"),
        (lambda s: s.pop("convs.7.conv.weight"), "tensor 'convs.7.conv.weight' is missing"),
        (lambda s: s.pop("to_rgbs.3.bias"), "does not belong to the network"),
        (lambda s: s.update({"extra.weight": torch.ones(2)}), "tensor 'extra.weight' does not belong"),
        (lambda s: s.update({"extra.weight": 3}), "tensor 'extra.weight' does not belong"),
        (lambda s: s.update({"convs.2.activate.bias": 3}), "tensor 'convs.2.activate.bias' is not a tensor"),
        (lambda s: s.update({"input.input": torch.ones(1, 32, 8, 8)}), "input.input' has shape (1, 32, 8, 8)"),
        (lambda s: s.update({"style.3.weight": torch.ones(32, 31)}), "the network needs (32, 32)"),
        (lambda s: s.update({"convs.0.conv.blur.kernel": torch.ones(4, 4) / 4}), "different filters"),
        (lambda s: s.update({"convs.0.conv.blur.kernel": torch.ones(64, 64)}), "at most 32 taps"),
        (lambda s: s.update({"to_rgbs.1.bias": torch.ones(1, 4, 1, 1)}), "to_rgbs.1.bias' has shape (1, 4, 1, 1)"),
        (lambda s: s.update({"style.1.bias": torch.full((32,), torch.inf)}), "not finite"),
        (lambda s: s.update({"style.1.bias": torch.full((32,), 1e300, dtype=torch.float64)}), "not finite"),
    ],
)
def test_invalid_tensors_are_named(
    edit: Edit, reason: str, rosinality: dict[str, Any], tmp_path: Path, refusal: Callable[..., str]
) -> None:
    edit(rosinality["g_ema"])
    torch.save(rosinality, tmp_path / "model")
    assert reason in refusal(tmp_path / "model")


def test_a_conditional_genforce_network_is_refused(
    rosinality: dict[str, Any], tmp_path: Path, refusal: Callable[..., str]
) -> None:
    state = as_genforce(rosinality["g_ema"], rosinality["latent_avg"])
    torch.save({"generator_smooth": state | {"mapping.label_weight": torch.ones(2, 32)}}, tmp_path / "model")
    assert "a conditional network of GenForce" in refusal(tmp_path / "model")
