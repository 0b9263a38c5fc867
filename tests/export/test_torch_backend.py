from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.errors import BackendUnavailableError, CheckpointError
from nonesuch.engine.generator import Generator
from nonesuch.engine.home import Home
from nonesuch.engine.session import Batch, SessionOptions
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.families import find_family
from nonesuch.export.formats.detect import read_checkpoint
from nonesuch.export.reference.rendering import ReferenceNetwork, TorchSettings
from nonesuch.export.torch_backend import TorchBackend


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty user's home."""
    monkeypatch.setenv("NONESUCH_HOME", str(tmp_path / "home"))
    return Home.default()


@pytest.fixture
def converted(home: Home, checkpoint: Checkpoint) -> Path:
    """The tiny model's converted checkpoint, in the user's home."""
    folder = Checkpoint.folder(home, checkpoint.model_id)
    checkpoint.save(folder)
    return folder


def refusal(artifact: Artifact, device: str = "cpu") -> str:
    with pytest.raises(BackendUnavailableError) as caught:
        Generator.open(artifact.folder, backend="torch", options=SessionOptions(device=device)).load()
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_it_matches_onnxruntime(artifact: Artifact, generator: Generator, device: str) -> None:
    options = SessionOptions(max_batch_size=4, device=device)
    with Generator.open(artifact.folder, backend="torch", options=options) as reference:
        found = reference.generate(range(6), psi=0.9)
        assert reference.session.identity.startswith("torch ")
        assert reference.build_id != generator.build_id
    assert found.shape == (6, 32, 32, 3)
    # A value on the border between two 8-bit levels may round differently.
    assert np.abs(found.astype(int) - generator.generate(range(6), psi=0.9).astype(int)).max() <= 1


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize(
    "settings",
    [
        TorchSettings(),
        TorchSettings(memory_format="channels_last"),
        TorchSettings(form="inference"),
        TorchSettings(form="inference", memory_format="channels_last"),
    ],
    ids=lambda settings: settings.label,
)
def test_every_eager_setting_shows_the_same_picture(
    artifact: Artifact, generator: Generator, settings: TorchSettings
) -> None:
    with TorchBackend(settings).session(artifact, SessionOptions(max_batch_size=2)) as session:
        batch = Batch(generator.styles([3, 4]))
        found = session.submit(batch).result().images
        assert session.device_ms is None
        expected = "eager" if settings == TorchSettings() else settings.label
        assert session.identity.endswith(f" cpu {expected}")
    # A value on the border between two 8-bit levels may round differently.
    assert np.abs(found.astype(int) - generator.generate([3, 4]).astype(int)).max() <= 1


@pytest.mark.usefixtures("converted")
def test_cuda_graphs_on_a_cpu_are_refused(artifact: Artifact) -> None:
    with pytest.raises(BackendUnavailableError, match="they need cuda"):
        TorchBackend(TorchSettings(cuda_graphs=True)).session(artifact, SessionOptions()).open()


def forms(network: ReferenceNetwork) -> set[object]:
    assert isinstance(network, nn.Module)
    return {module.form for module in network.modules() if hasattr(module, "form")}


@pytest.mark.parametrize("file", ["sg2ada_64.pkl", "sg3t_64.pkl"])
def test_every_family_takes_both_forms(file: str) -> None:
    checkpoint = read_checkpoint(Path(__file__).parents[1] / "fixtures" / file)
    family = find_family(checkpoint.family)
    assert forms(family.reference(checkpoint, "inference")) == {"inference"}
    assert forms(family.reference(checkpoint)) == {"grouped"}


@pytest.mark.usefixtures("converted")
def test_deterministic_runs_are_the_same_in_any_batch(artifact: Artifact) -> None:
    options = SessionOptions(max_batch_size=3, deterministic=True)
    with Generator.open(artifact.folder, backend="torch", options=options) as reference:
        together = reference.generate([4, 5, 6])
        for row, seed in enumerate([4, 5, 6]):
            np.testing.assert_array_equal(reference.generate([seed])[0], together[row])


def test_missing_converted_weights_are_an_error_with_the_command(artifact: Artifact, home: Home) -> None:
    message = refusal(artifact)
    assert str(home.checkpoints) in message
    assert "create them with: nonesuch export tiny --force" in message


def test_missing_torch_is_an_error_with_the_command(
    artifact: Artifact, converted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert converted.is_dir()
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "pip install 'nonesuch[torch]'" in refusal(artifact)


def test_damaged_weights_are_refused(artifact: Artifact, converted: Path) -> None:
    path = converted / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="no readable converted checkpoint"):
        Generator.open(artifact.folder, backend="torch")


def test_weights_of_another_model_are_refused(artifact: Artifact, home: Home, checkpoint: Checkpoint) -> None:
    other = dict(checkpoint.tensors)
    other["synthesis.to_img.bias"] = other["synthesis.to_img.bias"] + 1
    replace(checkpoint, tensors=other).save(Checkpoint.folder(home, checkpoint.model_id))
    assert "were altered; delete the folder" in refusal(artifact)


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize("device", ["abacus", "cpu:x", "xpu:99"])
def test_an_unknown_device_is_refused_by_name(artifact: Artifact, device: str) -> None:
    assert f"torch has no device {device!r} on this machine" in refusal(artifact, device)
