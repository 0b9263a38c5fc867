"""Formats are recognised by content alone, and unsupported ones are refused by name."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save as safetensors_save

from nonesuch.export.formats.detect import read_checkpoint

from .forging import FIXTURES, Network, Persistent, dump, fixture_path, load_trusted

Refusal = Callable[..., str]


def saved(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def module(class_name: str, tensors: dict[str, Any] | None = None, **children: Persistent) -> Persistent:
    state = {"_parameters": dict(tensors or {}), "_buffers": {}, "_modules": dict(children)}
    return Persistent({"type": "class", "version": 6, "module_src": "", "class_name": class_name, "state": state})


ONE = torch.ones(2, 2)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"GAN": {"SE.net.0.weight": ONE, "GE.blocks.0.conv1.weight": ONE}}, "lucidrains"),
        ({"state_dict": {"generator_ema.style_mapping.1.linear.weight_orig": ONE}}, "mmgen"),
        ({"state_dict": {"student.layers.0.conv1.conv.weight_dw": ONE}}, "MobileStyleGAN"),
        ({"params_ema": {"stylegan_decoder.style_mlp.1.weight": ONE}}, "GFPGAN"),
        ({"params": {"stylegan_decoder.style_mlp.1.weight": ONE}}, "GFPGAN"),
        ({"state_dict": {"decoder.style.1.weight": ONE}, "latent_avg": ONE}, "encoder (pSp"),
        ({"params": {"m": 1}, "ckpt": {"layers.0.conv1.conv.weight": ONE}}, "not a known generator"),
        ({"g_ema": {"main.0.weight": ONE}}, "FastGAN"),
        ({"linear.weight": ONE, "blocks.0.0.conv1.weight": ONE}, "BigGAN"),
        ({"generator.gen_z.weight": ONE}, "BigGAN"),
        ({"state_dict": {"model.diffusion_model.a": ONE}}, "diffusion model"),
        ({"synthesis.b4.conv1.affine.weight": ONE}, "without the attributes of its layers"),
        ({"synthesis.input.freqs": ONE}, "without the attributes of its layers"),
        ({"anything": ONE, "else": 1}, "not a known generator; the file is a dict of 2 with 'anything'"),
        ({"g_ema": torch.nn.Linear(2, 2)}, "save its state_dict()"),
        ([ONE], "contains a list"),
        (ONE, "contains a StoredTensor"),
        ({}, "a dict of 0"),
    ],
)
def test_other_networks_are_named(value: Any, reason: str, refusal: Refusal) -> None:
    assert reason in refusal(saved(value))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"G_ema": module("Generator", synthesis=module("FastganSynthesis"))}, "Generator, FastganSynthesis"),
        ({"G_ema": module("Generator")}, "neither StyleGAN2 nor StyleGAN3"),
        ({"G_ema": module("G", mapping=module("M", {"embed_proj.weight": ONE}))}, "StyleGAN-XL"),
        ({"G_ema": None}, "'G_ema' is None, not a PyTorch module"),
        ({"G_ema": Persistent({})}, "the network is ?, not a readable PyTorch module"),
        ({"G_ema": module("A", b=module("B"), c=Persistent({"state": 1}))}, "c is ?, not a readable PyTorch module"),
    ],
)
def test_other_networks_in_nvidia_pickles_are_named(value: Any, reason: str, refusal: Refusal) -> None:
    assert reason in refusal(dump(value))


def test_excessively_shared_modules_are_refused(refusal: Refusal) -> None:
    inner = module("Leaf", {"w": ONE})
    for _ in range(20):  # a million paths to one leaf
        inner = module("Pair", a=inner, b=inner)
    assert "more than 10000 modules" in refusal(dump({"G_ema": inner}))
    many = module("Wide", {str(index): None for index in range(5000)})
    assert "more than 10000 tensors" in refusal(dump({"G_ema": module("A", a=many, b=many, c=many)}))


def test_stylegan1_in_tensorflow_is_named(refusal: Refusal) -> None:
    value = load_trusted("sg2tf_64")
    value[2].version = 2
    value[2].components["synthesis"].build_func_name = "G_synthesis"
    assert "StyleGAN1 (or another older TensorFlow network: version 2" in refusal(dump(value))
    old = Network()
    old.__dict__.update(version=2, variables=[])
    assert "such as ProGAN, which is not supported" in refusal(dump((old, old, old)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x1f\x8b\x08\0", "gzip archive; unpack it first"),
        (b"7z\xbc\xaf\x27\x1c", "7z archive"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "the download failed"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"hello", "begins with 68 65 6c 6c"),
    ],
)
def test_other_files_are_named(content: bytes, reason: str, refusal: Refusal) -> None:
    assert reason in refusal(content)


class TestSafetensors:
    def test_named_tensors_are_recognised_like_those_of_torch(self, tmp_path: Path) -> None:
        state = torch.load(fixture_path("rosinality_64"), weights_only=True)
        tensors = {name: tensor.numpy() for name, tensor in state["g_ema"].items()}
        path = tmp_path / "model"
        path.write_bytes(safetensors_save(tensors | {"latent_avg": state["latent_avg"].numpy()}))
        assert read_checkpoint(path).model_id == read_checkpoint(fixture_path("rosinality_64")).model_id

    def test_a_converted_checkpoint_without_its_config(self, tmp_path: Path, refusal: Refusal) -> None:
        read_checkpoint(fixture_path("sg2ada_64")).save(tmp_path / "converted")
        assert "use the original pickle, or the folder" in refusal(tmp_path / "converted" / "model.safetensors")

    def test_damaged(self, refusal: Refusal) -> None:
        data = safetensors_save({"style.1.weight": np.ones((2, 2), np.float32)})
        assert "not a known generator" in refusal(data)
        for end in range(9, len(data)):
            assert "safetensors" in refusal(data[:end]) or "begins with" in refusal(data[:end])
        assert "safetensors" in refusal(data.replace(b"F32", b"X32"))
        assert "safetensors" in refusal(data.replace(b"[2,2]", b"[9,9]"))


def test_the_prefix_of_data_parallel_training_is_removed(tmp_path: Path) -> None:
    state = torch.load(fixture_path("rosinality_64"), weights_only=True)
    state["g_ema"] = {f"module.{name}": tensor for name, tensor in state["g_ema"].items()}
    path = tmp_path / "model"
    path.write_bytes(saved(state))
    assert read_checkpoint(path).model_id == read_checkpoint(fixture_path("rosinality_64")).model_id


def test_reading_needs_no_torch_and_imports_nothing_that_files_name() -> None:
    names = [str(path) for path in sorted(FIXTURES.iterdir()) if path.suffix in (".pkl", ".pt")]
    assert len(names) == 8
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from nonesuch.export.formats.detect import read_checkpoint\n"
        f"for name in {names!r}: read_checkpoint(Path(name))\n"
        "loaded = {'torch', 'torch_utils', 'dnnlib', 'training', 'pickle', 'onnx', 'onnxruntime'} & set(sys.modules)\n"
        "assert not loaded - {'pickle'}, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_bare_pickle_of_tensors_is_a_state_dict_too(refusal: Refusal) -> None:
    assert "a dict of 1 with 'weights'" in refusal(pickle.dumps({"weights": np.zeros(3, np.float32)}))
