"""The wheel in a new environment, without torch and onnx."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.home import Home
from nonesuch.export.catalogue import find_entry

from .conftest import REPOSITORY

CONSTRAINTS = REPOSITORY / "constraints.txt"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(out), str(REPOSITORY)],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    (wheel,) = out.glob("*.whl")
    return wheel


def test_the_wheel_holds_one_top_level_name_and_every_portion(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"nonesuch"}
    assert "nonesuch/__init__.py" not in names
    for portion in ("v1", "oip", "engine", "export", "server", "client", "cli", "benchmarks"):
        assert f"nonesuch/{portion}/py.typed" in names
    assert any(name.startswith("nonesuch/export/digests/") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


Run = Callable[..., str]


def new_environment(folder: Path, requirement: str) -> tuple[Run, Path]:
    """A virtual environment with one requirement: a function that runs commands in it, and its `nonesuch`."""
    venv.create(folder / "venv", with_pip=True)
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    environment["NONESUCH_HOME"] = str(folder / "home")

    def run(*command: object) -> str:
        result = subprocess.run(
            [str(word) for word in command],
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout
        return result.stdout

    pip = (folder / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--constraint", CONSTRAINTS, requirement)
    return run, folder / "venv" / "bin" / "nonesuch"


def test_cpu_alone_generates_and_serves_without_torch_and_onnx(wheel: Path, artifact: Artifact, tmp_path: Path) -> None:
    run, nonesuch = new_environment(tmp_path, f"{wheel}[cpu]")
    packages = {line.split("==")[0].lower() for line in run(nonesuch.parent / "python", "-m", "pip", "freeze").split()}
    assert "onnxruntime" in packages
    assert not packages & {"torch", "onnx", "onnx-ir", "safetensors"}
    assert "generate" in run(nonesuch, "--help")
    out = run(nonesuch, "generate", "--seeds", "0-1", "--model", artifact.folder, "--out", "made")
    assert out.count("seed0") == 2
    assert (tmp_path / "made" / "seed0001.png").is_file()
    served = subprocess.Popen(
        [str(nonesuch), "serve", "--grpc", "127.0.0.1:0", "--model", str(artifact.folder)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with served:
        try:
            assert served.stdout is not None
            served.stdout.readline()
            address = served.stdout.readline().split()[1]
            run(nonesuch, "fetch", "--server", address, "--seeds", "0", "--out", "fetched")
        finally:
            served.terminate()
    assert served.returncode == 0
    assert (tmp_path / "fetched" / "seed0000.jpg").is_file()


@pytest.mark.faces
def test_cpu_and_export_export_and_make_the_first_face_without_torch(
    wheel: Path, faces_home: Home, tmp_path: Path
) -> None:
    run, nonesuch = new_environment(tmp_path, f"{wheel}[cpu,export]")
    packages = {line.split("==")[0].lower() for line in run(nonesuch.parent / "python", "-m", "pip", "freeze").split()}
    assert {"onnxruntime", "onnx-ir"} <= packages
    assert "torch" not in packages
    file = faces_home.downloads / find_entry("faces").file.filename
    run(nonesuch, "models", "pull", "faces", "--from", file)
    run(nonesuch, "generate", "--seeds", "0", "--out", "made")
    with Image.open(tmp_path / "made" / "seed0000.png") as face:
        assert face.size == (1024, 1024)
