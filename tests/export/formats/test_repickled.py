"""The same networks as written by other versions of Python, NumPy and PyTorch, on other devices, in other layouts."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.formats.detect import read_checkpoint

from .forging import ALL, EasyDict, dump, fixture_path, load_trusted, module_at, modules


def read(content: bytes, folder: Path) -> Checkpoint:
    path = folder / "network"
    path.write_bytes(content)
    return read_checkpoint(path)


def assert_same(found: Checkpoint, name: str) -> None:
    original = read_checkpoint(fixture_path(name))
    assert found.config == original.config
    assert found.tensors.keys() == original.tensors.keys()
    for key, array in original.tensors.items():
        np.testing.assert_array_equal(found.tensors[key], array, err_msg=key)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["sg2ada_cond_32", "sg3r_64", "sg2tf_64"])
def test_every_protocol(name: str, protocol: int, tmp_path: Path) -> None:
    assert_same(read(dump(load_trusted(name), protocol), tmp_path), name)


@pytest.mark.parametrize("name", ["sg2ada_cond_32", "sg3r_64", "sg2tf_64"])
@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
def test_names_of_both_numpys(name: str, core: bytes, tmp_path: Path) -> None:
    content = dump(load_trusted(name), 2)
    installed = b"numpy._core" if b"numpy._core" in content else b"numpy.core"
    content = content.replace(b"c" + installed + b".multiarray\n", b"c" + core + b".multiarray\n")
    assert b"c" + core + b".multiarray\n" in content
    assert_same(read(content, tmp_path), name)


def test_storages_of_an_absent_gpu(tmp_path: Path) -> None:
    def move(content: bytes) -> bytes:
        assert content.count(b"X\3\0\0\0cpu") == 1
        return content.replace(b"X\3\0\0\0cpu", b"X\6\0\0\0cuda:0")

    content = dump(load_trusted("sg2ada_cond_32"), edit_storage=move)
    assert b"cuda:0" in content
    assert_same(read(content, tmp_path), "sg2ada_cond_32")


def test_channels_last_weights_have_other_strides(tmp_path: Path) -> None:
    value = load_trusted("sg2ada_resnet_32")
    changed = 0
    for state in modules(value["G_ema"]):
        for parameter in state["_parameters"].values():
            if parameter is not None and parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
                changed += not parameter.is_contiguous()
    assert changed > 5
    assert_same(read(dump(value), tmp_path), "sg2ada_resnet_32")


def test_tensors_that_share_one_storage(tmp_path: Path) -> None:
    value = load_trusted("sg2ada_cond_32")
    tensors = [state["_parameters"] for state in modules(value["G_ema"])]
    flat = torch.cat([p.data.reshape(-1) for group in tensors for p in group.values() if p is not None])
    start = 0
    for group in tensors:
        for parameter in group.values():
            if parameter is not None:
                parameter.data = flat[start : start + parameter.numel()].view(parameter.shape)
                start += parameter.numel()
    # Saved one by one, each embeds the storage of all. Their total size is below the limit.
    assert_same(read(dump(value), tmp_path), "sg2ada_cond_32")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_floating_point_types(dtype: torch.dtype, tmp_path: Path) -> None:
    value = load_trusted("sg2ada_cond_32")
    expected = {}
    for path in ["synthesis.b8.conv0", "synthesis.b4.torgb"]:
        parameter = module_at(value["G_ema"], path)["_parameters"]["weight"]
        parameter.data = parameter.data.to(dtype)
        expected[f"{path}.weight"] = parameter.data.to(torch.float32).numpy()
    found = read(dump(value), tmp_path)
    for name, array in expected.items():
        np.testing.assert_array_equal(found.tensors[name], array)


def test_objects_besides_the_generator_are_ignored(tmp_path: Path) -> None:
    value = load_trusted("sg2ada_cond_32")
    value["G"] = value["G_ema"]  # shared, as the pickler's memo makes it
    value["D"] = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Embedding(4, 2))
    value["augment_pipe"] = {"counts": torch.arange(5), "complex": torch.zeros(2, dtype=torch.complex64)}
    value["training_set_kwargs"] = EasyDict(path=Path("data"), sizes={1, 2}, resolution=np.int64(32))
    assert_same(read(dump(value), tmp_path), "sg2ada_cond_32")
    assert_same(read(dump(value["G_ema"]), tmp_path), "sg2ada_cond_32")  # also the generator alone


def test_defaults_that_kwargs_leave_out_are_read_from_the_layers(tmp_path: Path) -> None:
    value = load_trusted("sg2ada_64")
    for state in modules(value["G_ema"]):
        state["_init_kwargs"] = {"conv_clamp": 1, "channel_base": 7}
        if "conv_clamp" in state:
            state["conv_clamp"] = 96
    assert read(dump(value), tmp_path).config["conv_clamp"] == 96.0


def test_a_network_without_noise_and_without_average(tmp_path: Path) -> None:
    value = load_trusted("sg2ada_cond_32")
    layer = module_at(value["G_ema"], "synthesis.b16.conv1")
    layer["use_noise"] = False
    del layer["_parameters"]["noise_strength"], layer["_buffers"]["noise_const"]
    module_at(value["G_ema"], "mapping")["_buffers"]["w_avg"] = None
    found = read(dump(value), tmp_path)
    assert not found.tensors["synthesis.b16.conv1.noise_const"].any()
    assert found.tensors["synthesis.b16.conv1.noise_const"].shape == (16, 16)
    assert found.tensors["synthesis.b16.conv1.noise_strength"] == 0
    assert "w_avg" not in found.tensors


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_torch_save_of_every_kind(zipped: bool, protocol: int, tmp_path: Path) -> None:
    state = torch.load(fixture_path("rosinality_64"), weights_only=True)
    path = tmp_path / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(state, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    assert_same(read_checkpoint(path), "rosinality_64")


def test_legacy_files_whose_tensors_share_a_storage(tmp_path: Path) -> None:
    state = torch.load(fixture_path("rosinality_64"), weights_only=True)
    first, second = state["g_ema"]["style.1.weight"], state["g_ema"]["style.2.weight"]
    both = torch.cat([first, second])
    state["g_ema"]["style.1.weight"], state["g_ema"]["style.2.weight"] = both[: len(first)], both[len(first) :]
    for zipped in (True, False):
        torch.save(state, tmp_path / f"{zipped}", _use_new_zipfile_serialization=zipped)
        assert_same(read_checkpoint(tmp_path / f"{zipped}"), "rosinality_64")


@pytest.mark.parametrize("name", ALL)
def test_the_file_name_is_ignored(name: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.jpeg"
    path.write_bytes(fixture_path(name).read_bytes())
    assert_same(read_checkpoint(path), name)


LOPSIDED = torch.outer(*[torch.tensor([0.1, 0.2, 0.3, 0.4])] * 2)
Edit = Callable[[Any], Any]


def edit_attribute(path: str, name: str, value: Any) -> Edit:
    return lambda generator: module_at(generator, path).__setitem__(name, value)


def edit_tensor(path: str, name: str, change: Callable[[Any], Any]) -> Edit:
    def edit(generator: Any) -> None:
        state = module_at(generator, path)
        group = state["_parameters"] if name in state["_parameters"] else state["_buffers"]
        group[name] = None if (changed := change(group[name])) is None else changed.detach().clone()

    return edit


@pytest.mark.parametrize(
    ("name", "edit", "reason"),
    [
        ("sg2ada_cond_32", edit_attribute("synthesis.b8.conv0", "conv_clamp", 256), "conv_clamp"),
        ("sg2ada_cond_32", edit_attribute("synthesis.b8.conv0", "conv_clamp", -1), "conv_clamp is not a positive"),
        ("sg2ada_cond_32", edit_attribute("synthesis.b8.conv0", "up", 4), "synthesis.b8.conv0.up is 4"),
        ("sg2ada_cond_32", edit_attribute("synthesis.b8.conv1", "activation", "relu"), "activation is 'relu'"),
        ("sg2ada_cond_32", edit_attribute("synthesis.b8.conv1", "act_gain", 1.0), "act_gain is 1.0"),
        ("sg2ada_cond_32", edit_attribute("synthesis.b8", "architecture", "orig"), "b8.architecture is 'orig'"),
        ("sg2ada_cond_32", edit_attribute("synthesis.b4", "architecture", "new"), "architecture 'new'"),
        ("sg2ada_cond_32", edit_attribute("synthesis", "num_ws", 9), "synthesis.num_ws is 9"),
        ("sg2ada_cond_32", edit_attribute("synthesis", "img_resolution", 64), "img_resolution is 64"),
        ("sg2ada_cond_32", edit_attribute("synthesis", "img_channels", 5), "5 image channels"),
        ("sg2ada_cond_32", edit_attribute("mapping", "z_dim", 47), "tensor 'mapping.fc0.weight' has shape"),
        ("sg2ada_cond_32", edit_attribute("mapping", "c_dim", [[[]]]), "mapping.c_dim is not a finite number"),
        ("sg2ada_cond_32", edit_attribute("mapping.fc0", "weight_gain", float("nan")), "weight_gain is not"),
        ("sg2ada_cond_32", edit_attribute("mapping.fc0", "weight_gain", 0), "weight_gain is not a positive"),
        ("sg2ada_cond_32", edit_tensor("synthesis.b8.conv1", "bias", lambda t: t[:-1]), "conv1.bias' has shape (31,)"),
        ("sg2ada_cond_32", edit_tensor("synthesis.b8.conv1", "bias", lambda t: t * torch.nan), "not finite"),
        ("sg2ada_cond_32", edit_tensor("synthesis.b8.conv1", "bias", lambda t: t.long()), "not floating point"),
        ("sg2ada_cond_32", edit_tensor("synthesis.b8.conv1", "bias", lambda t: None), "conv1.bias' is missing"),
        ("sg2ada_cond_32", edit_tensor("synthesis.b8.conv1", "bias", lambda t: t.cfloat()), "ComplexFloatStorage"),
        ("sg2ada_cond_32", edit_tensor("synthesis.b8.conv1", "weight", lambda t: t.flatten()), "conv1.weight' has"),
        ("sg2ada_cond_32", edit_tensor("synthesis.b8", "resample_filter", lambda t: t.triu()), "not a separable"),
        (
            "sg2ada_cond_32",
            edit_tensor("synthesis.b8", "resample_filter", lambda t: t * 2),
            "not a separable filter of gain 1",
        ),
        ("sg2ada_cond_32", edit_tensor("synthesis.b8", "resample_filter", lambda t: LOPSIDED), "not a symmetric"),
        ("sg2ada_cond_32", edit_tensor("synthesis.b8", "resample_filter", lambda t: t[1:3, 1:3] * 16 / 9), "_filter"),
        ("sg2ada_cond_32", edit_tensor("synthesis.b8", "resample_filter", lambda t: t[:, :1]), "has shape (4, 1)"),
        ("sg2ada_resnet_32", edit_attribute("synthesis.b8.skip", "conv_clamp", 256), "b8.skip.conv_clamp is 256"),
        ("sg3t_64", edit_attribute("synthesis.L4_52_32", "padding", [0, 0, 0, 0]), "inconsistent sizes"),
        ("sg3t_64", edit_attribute("synthesis.L4_52_32", "padding", [1e9]), "padding is not a list of whole numbers"),
        ("sg3t_64", edit_attribute("synthesis.L4_52_32", "out_size", 53), "inconsistent sizes"),
        ("sg3t_64", edit_attribute("synthesis.L4_52_32", "in_size", np.array([36, 37])), "expected one size"),
        ("sg3t_64", edit_attribute("synthesis.L4_52_32", "up_factor", 0), "up_factor is 0"),
        ("sg3t_64", edit_attribute("synthesis.L4_52_32", "conv_clamp", None), "different values of conv_clamp"),
        ("sg3t_64", edit_attribute("synthesis.L4_52_32", "is_torgb", True), "is_torgb is True"),
        ("sg3t_64", edit_tensor("synthesis.L4_52_32", "up_filter", lambda t: None), "up_filter' is missing"),
        ("sg3t_64", edit_tensor("synthesis.L4_52_32", "up_filter", lambda t: t.cumsum(0)), "not a symmetric"),
        ("sg3r_64", edit_tensor("synthesis.L4_52_32", "down_filter", lambda t: t[:, :2]), "not valid for a filter"),
        ("sg3t_64", edit_tensor("synthesis.L4_52_32", "magnitude_ema", lambda t: t * 0), "not positive"),
        ("sg3t_64", edit_attribute("synthesis", "layer_names", ["L0_36_32"] * 99), "lists no layers"),
        ("sg3t_64", edit_attribute("synthesis", "layer_names", ["nowhere"]), "no module synthesis.nowhere"),
        ("sg3t_64", edit_attribute("synthesis.input", "bandwidth", 9.0), "bandwidth 9.0"),
    ],
)
def test_invalid_parts_are_named(name: str, edit: Edit, reason: str, refusal: Callable[..., str]) -> None:
    value = load_trusted(name)
    edit(value["G_ema"])
    assert reason in refusal(dump(value))


@pytest.mark.parametrize(
    ("path", "name", "value", "reason"),
    [
        ("", "extra", torch.zeros(3), "tensor 'extra' does not belong"),
        ("mapping", "embed_proj.weight", torch.zeros(3), "StyleGAN-XL"),
        ("synthesis.b8.conv0", "second", torch.zeros(3), "'synthesis.b8.conv0.second' does not belong"),
    ],
)
def test_variants_are_not_mistaken_for_the_original(
    path: str, name: str, value: Any, reason: str, refusal: Callable[..., str]
) -> None:
    network = load_trusted("sg2ada_cond_32")
    generator = network["G_ema"]
    state = module_at(generator, path) if path else generator.meta["state"]
    state["_buffers"][name] = value
    assert reason in refusal(dump(network))


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda gs: gs.__dict__.update(version=3), "StyleGAN1"),
        (lambda gs: gs.components["synthesis"].__dict__.update(build_func_name="G_style"), "build function 'G_style'"),
        (lambda gs: gs.static_kwargs.update(conv_clamp="x"), "conv_clamp"),
        (lambda gs: gs.static_kwargs.update(architecture="new"), "architecture 'new'"),
        (lambda gs: gs.static_kwargs.update(nonlinearity="relu"), "nonlinearity is 'relu'"),
        (lambda gs: gs.static_kwargs.update(resample_kernel=[1, 2, 3]), "not a symmetric"),
        (lambda gs: gs.static_kwargs.update(resample_kernel=[]), "no positive sum"),
        (lambda gs: gs.static_kwargs.update(resample_kernel=[10**400]), "not a list of numbers"),
        (lambda gs: gs.variables.append(("extra", np.zeros(3, np.float32))), "tensor 'extra' does not belong"),
        (lambda gs: gs.variables.append((3, 4)), "has no name"),
        (lambda gs: gs.components["mapping"].variables.append(("LabelConcat/weight", np.zeros(3))), "LabelConcat"),
        (lambda gs: gs.components["synthesis"].variables.pop(), "tensor 'synthesis/noise8' is missing"),
        (lambda gs: gs.components.pop("synthesis"), "without mapping and synthesis"),
    ],
)
def test_invalid_parts_of_a_tensorflow_network_are_named(
    edit: Callable[[Any], Any], reason: str, refusal: Callable[..., str]
) -> None:
    value = load_trusted("sg2tf_64")
    edit(value[2])
    assert reason in refusal(dump(value))


def test_arguments_of_tensorflow_that_change_the_network(tmp_path: Path) -> None:
    value = load_trusted("sg2tf_64")
    value[2].static_kwargs.update(conv_clamp=256, resample_kernel=[1, 1], mapping_lrmul=0.02)
    found, original = read(dump(value), tmp_path), read_checkpoint(fixture_path("sg2tf_64"))
    assert (found.config["conv_clamp"], found.config["resample_filter"]) == (256.0, [0.5, 0.5])
    doubled = original.tensors["mapping.fc3.bias"] * 2
    np.testing.assert_allclose(found.tensors["mapping.fc3.bias"], doubled, rtol=1e-6)  # one rounding of the product


def test_labels_of_stylegan2_ada_in_tensorflow(tmp_path: Path) -> None:
    value = load_trusted("sg2tf_64")
    mapping = value[2].components["mapping"]
    random = np.random.RandomState(0)
    weight, bias, wide = (random.randn(*shape).astype(np.float32) for shape in [(5, 64), (64,), (128, 64)])
    for index, (name, _) in enumerate(mapping.variables):
        if name == "Dense0/weight":
            mapping.variables[index] = (name, wide)
    mapping.variables += [("LabelEmbed/weight", weight), ("LabelEmbed/bias", bias)]
    found = read(dump(value), tmp_path)
    assert (found.config["c_dim"], found.config["z_dim"]) == (5, 64)
    np.testing.assert_allclose(found.tensors["mapping.embed.weight"], weight.T / np.sqrt(5), rtol=1e-6)  # one rounding
    np.testing.assert_array_equal(found.tensors["mapping.embed.bias"], bias)
    assert found.tensors["mapping.fc0.weight"].shape == (64, 128)
