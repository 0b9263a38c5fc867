from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save as safetensors_save
from safetensors.torch import save as torch_save

from nonesuch.engine.errors import CheckpointError
from nonesuch.engine.home import Home
from nonesuch.export.checkpoint import CONFIG_FILE, TENSORS_FILE, Checkpoint


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.load(folder)
    assert str(folder) in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.fixture
def saved(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "saved")
    return tmp_path / "saved"


def test_a_saved_checkpoint_is_loaded(checkpoint: Checkpoint, saved: Path) -> None:
    loaded = Checkpoint.load(saved)
    assert loaded.config == checkpoint.config
    assert set(loaded.tensors) == set(checkpoint.tensors)
    for name, array in checkpoint.tensors.items():
        assert loaded.tensors[name].dtype == np.float32
        np.testing.assert_array_equal(loaded.tensors[name], array)
    assert loaded.model_id == checkpoint.model_id
    assert loaded.family == "mobilestylegan"


def test_views_are_saved_in_logical_order(checkpoint: Checkpoint, tmp_path: Path) -> None:
    name = "mapping.fc0.weight"
    turned = replace(checkpoint, tensors={**checkpoint.tensors, name: checkpoint.tensors[name].T.copy().T})
    assert not turned.tensors[name].flags.c_contiguous
    turned.save(tmp_path / "turned")
    assert Checkpoint.load(tmp_path / "turned").model_id == turned.model_id == checkpoint.model_id


def test_the_model_id_is_stable(checkpoint: Checkpoint) -> None:
    # The id of the tiny model. It changes only with the format of ids, which invalidates every artifact.
    assert checkpoint.model_id == "f45ee5fa8300b570c3df9a0b48daa67726b8b92d643a76324dab12a967221fd3"
    shuffled = Checkpoint(
        config=dict(reversed(list(checkpoint.config.items()))), tensors=dict(reversed(list(checkpoint.tensors.items())))
    )
    assert shuffled.model_id == checkpoint.model_id


def test_any_value_of_any_tensor_changes_the_model_id(checkpoint: Checkpoint) -> None:
    ids = {checkpoint.model_id}
    for name, array in checkpoint.tensors.items():
        changed = array.copy()
        changed.flat[-1] = np.nextafter(changed.flat[-1], np.float32(9))
        ids.add(replace(checkpoint, tensors={**checkpoint.tensors, name: changed}).model_id)
        if array.ndim > 1:
            ids.add(replace(checkpoint, tensors={**checkpoint.tensors, name: array.reshape(-1)}).model_id)
        ids.add(replace(checkpoint, tensors={k: v for k, v in checkpoint.tensors.items() if k != name}).model_id)
    arrays = list(checkpoint.tensors.values())
    assert len(ids) == 1 + 2 * len(arrays) + sum(array.ndim > 1 for array in arrays)


def test_any_value_of_the_config_changes_the_model_id(checkpoint: Checkpoint) -> None:
    ids = {replace(checkpoint, config={**checkpoint.config, key: "other"}).model_id for key in checkpoint.config}
    ids |= {checkpoint.model_id, replace(checkpoint, config={**checkpoint.config, "more": 1}).model_id}
    assert len(ids) == len(checkpoint.config) + 2


def test_saving_keeps_an_existing_folder(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note").write_text("keep me")
    checkpoint.save(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["note"]


def test_only_the_finished_folder_remains(checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "deep" / "saved")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["saved"]
    assert sorted(path.name for path in (tmp_path / "deep" / "saved").iterdir()) == [CONFIG_FILE, TENSORS_FILE]


def test_a_failed_save_leaves_nothing(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        replace(checkpoint, config={**checkpoint.config, "x": object()}).save(tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


def test_concurrent_saves_succeed(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: checkpoint.save(tmp_path / "saved"), range(8)))
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    assert Checkpoint.load(tmp_path / "saved").model_id == checkpoint.model_id


@pytest.mark.parametrize("name", [CONFIG_FILE, TENSORS_FILE])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    assert name in refusal(saved)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    refusal(tmp_path / "nowhere")


def test_damaged_tensors_are_refused(saved: Path) -> None:
    whole = (saved / TENSORS_FILE).read_bytes()
    for data in (b"", b"junk", whole[:-1], whole[:100], b"\xff" * 8 + whole[8:], whole + b"more"):
        (saved / TENSORS_FILE).write_bytes(data)
        assert "no readable converted checkpoint" in refusal(saved)


def test_tensors_of_another_type_are_refused(saved: Path) -> None:
    (saved / TENSORS_FILE).write_bytes(safetensors_save({"a": np.zeros(2)}))
    assert "tensor 'a' is float64, expected float32" in refusal(saved)
    for dtype in (torch.bfloat16, torch.float8_e4m3fn):
        (saved / TENSORS_FILE).write_bytes(torch_save({"a": torch.zeros(2, dtype=dtype)}))
        refusal(saved)


@pytest.mark.parametrize("config", ["", "{", "[1]", "null", "{}", "\0", "[" * 100_000])
def test_a_damaged_config_is_refused(saved: Path, config: str) -> None:
    (saved / CONFIG_FILE).write_text(config)
    refusal(saved)


def test_a_config_that_is_not_utf8_is_refused(saved: Path) -> None:
    (saved / CONFIG_FILE).write_bytes(b'{"family": "\xff"}')
    refusal(saved)


def test_a_tensor_is_checked_by_name_and_shape(checkpoint: Checkpoint) -> None:
    assert checkpoint.tensor("mapping.fc0.bias", 12) is checkpoint.tensors["mapping.fc0.bias"]
    with pytest.raises(CheckpointError, match=r"'mapping\.fc0\.bias' has shape \(12,\), the network needs \(13,\)"):
        checkpoint.tensor("mapping.fc0.bias", 13)
    with pytest.raises(CheckpointError, match="no tensor 'nose'; it does not fit family 'mobilestylegan'"):
        checkpoint.tensor("nose", 1)


def test_a_checkpoint_is_stored_under_its_id(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = Checkpoint.folder(Home(tmp_path), checkpoint.model_id)
    assert folder == tmp_path / "checkpoints" / checkpoint.model_id


def test_the_config_on_disk_is_indented(saved: Path, checkpoint: Checkpoint) -> None:
    text = (saved / CONFIG_FILE).read_text()
    assert json.loads(text) == checkpoint.config
    assert text.startswith("{\n  ")
