"""Compares the converted mapping network, in plain NumPy, with the output of each format's own code."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.formats.detect import read_checkpoint

from .forging import ALL, FIXTURES, fixture_path

Array = NDArray[Any]


def normalized(x: Array) -> Array:
    result: Array = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-8)
    return result


def mapped(checkpoint: Checkpoint, z: Array, c: Array | None) -> Array:
    x = normalized(z)
    if c is not None:
        embedded = c @ checkpoint.tensors["mapping.embed.weight"].T + checkpoint.tensors["mapping.embed.bias"]
        x = np.concatenate([x, normalized(embedded)], axis=1)
    for index in range(checkpoint.config["mapping_layers"]):
        weight, bias = (checkpoint.tensors[f"mapping.fc{index}.{part}"] for part in ("weight", "bias"))
        x = x @ weight.T + bias
        x = np.where(x < 0, 0.2 * x, x) * math.sqrt(2)
    return x


@pytest.mark.parametrize("name", ALL)
def test_mapped_latents_match_the_formats_own_code(name: str) -> None:
    checkpoint = read_checkpoint(fixture_path(name))
    with np.load(FIXTURES / f"{name}.ref.npz") as reference:
        w = mapped(checkpoint, reference["z"].astype(np.float64), reference.get("c"))
        num_ws = checkpoint.config["num_ws"]
        psi, w_avg = float(reference["truncation_psi"]), checkpoint.tensors["w_avg"]
        ws = np.repeat(w[:, None], num_ws, axis=1)
        truncated = w_avg + psi * (ws - w_avg)
        # The references are float32: their rounding, over at most 8 layers of values below 10, stays below this.
        np.testing.assert_allclose(ws, reference["ws"], atol=1e-5)
        np.testing.assert_allclose(truncated, reference["ws_truncated"], atol=1e-5)
        if "ws_truncated_cutoff3" in reference:
            cut = np.concatenate([truncated[:, :3], ws[:, 3:]], axis=1)
            np.testing.assert_allclose(cut, reference["ws_truncated_cutoff3"], atol=1e-5)
        assert reference["image"].shape[1:] == (
            checkpoint.config["img_channels"],
            checkpoint.config["resolution"],
            checkpoint.config["resolution"],
        )


def test_the_configs_describe_the_networks() -> None:
    configs = {name: dict(read_checkpoint(fixture_path(name)).config) for name in ALL}
    common = {
        "family": "stylegan2",
        "img_channels": 3,
        "c_dim": 0,
        "architecture": "skip",
        "conv_clamp": None,
        "resample_filter": [0.125, 0.375, 0.375, 0.125],
        "resolution": 64,
        "num_ws": 10,
        "mapping_layers": 8,
        "z_dim": 64,
        "w_dim": 64,
        "channels": [32, 32, 32, 32, 16],
    }
    small = {"resolution": 32, "num_ws": 8}
    nvidia = common | {"source_format": "nvidia-pytorch"}
    assert configs["sg2ada_64"] == nvidia | {"conv_clamp": 256.0, "mapping_layers": 4}
    assert configs["sg2_by_sg3repo_64"] == nvidia | {"conv_clamp": 256.0}
    conditional = {"c_dim": 5, "z_dim": 48, "mapping_layers": 2, "channels": [32, 32, 32, 16]}
    assert configs["sg2ada_cond_32"] == nvidia | small | conditional
    assert configs["sg2ada_resnet_32"] == nvidia | small | {"architecture": "resnet", "channels": [24, 24, 24, 16]}
    assert configs["sg2tf_64"] == common | {"source_format": "nvidia-tensorflow"}
    narrow = {"z_dim": 32, "w_dim": 32, "channels": [32] * 5, "source_format": "rosinality"}
    assert configs["rosinality_64"] == common | narrow


@pytest.mark.parametrize(("name", "kernel", "radial"), [("sg3t_64", 3, False), ("sg3r_64", 1, True)])
def test_the_geometry_of_stylegan3_is_read_from_its_layers(name: str, kernel: int, radial: bool) -> None:
    checkpoint = read_checkpoint(fixture_path(name))
    config = checkpoint.config
    assert (config["family"], config["num_ws"], config["output_scale"]) == ("stylegan3", 16, 0.25)
    assert config["input"] == {"size": 36, "sampling_rate": 16.0, "bandwidth": 2.0, "channels": 32}
    first, fifth, last = config["layers"][0], config["layers"][4], config["layers"][-1]
    assert len(config["layers"]) == 15
    assert (first["conv_kernel"], first["up_factor"], first["down_factor"]) == (kernel, 2, 2)
    assert (fifth["in_size"], fifth["out_size"], fifth["up_factor"]) == (36, 52, 4)
    assert min(fifth["padding"]) < 0
    assert (last["is_torgb"], last["conv_kernel"], last["out_channels"], last["out_size"]) == (True, 1, 3, 64)
    assert checkpoint.tensors["synthesis.L0.down_filter"].ndim == (2 if radial else 1)
    assert "synthesis.L14.up_filter" not in checkpoint.tensors
    assert checkpoint.tensors["synthesis.L0.magnitude_ema"].shape == ()


@pytest.mark.parametrize("name", ALL)
def test_a_saved_checkpoint_is_read_again(name: str, tmp_path: Any) -> None:
    checkpoint = read_checkpoint(fixture_path(name))
    json.dumps(dict(checkpoint.config))
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in checkpoint.tensors.values())
    checkpoint.save(tmp_path / "converted")
    assert read_checkpoint(tmp_path / "converted").model_id == checkpoint.model_id
