"""The wheel, as a user installs it: a new environment, without torch, without onnx."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from nonesuch.engine.artifact import Artifact

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
    for portion in ("v1", "engine", "export", "server", "client", "cli", "benchmarks"):
        assert f"nonesuch/{portion}/py.typed" in names
    assert any(name.startswith("nonesuch/export/digests/") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_cpu_alone_generates_and_serves_without_torch_and_onnx(wheel: Path, artifact: Artifact, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    nonesuch = str(tmp_path / "venv" / "bin" / "nonesuch")
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    environment["NONESUCH_HOME"] = str(tmp_path / "home")

    def run(*command: str) -> str:
        result = subprocess.run(
            command,
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout
        return result.stdout

    pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--constraint", str(CONSTRAINTS), f"{wheel}[cpu]")
    packages = {line.split("==")[0].lower() for line in run(str(python), "-m", "pip", "freeze").splitlines()}
    assert "onnxruntime" in packages
    assert not packages & {"torch", "onnx", "onnx-ir", "safetensors"}
    assert "generate" in run(nonesuch, "--help")
    out = run(nonesuch, "generate", "--seeds", "0-1", "--model", str(artifact.folder), "--out", "made")
    assert out.count("seed0") == 2
    assert (tmp_path / "made" / "seed0001.png").is_file()
    served = subprocess.Popen(
        [nonesuch, "serve", "--grpc", "127.0.0.1:0", "--model", str(artifact.folder)],
        env=environment,
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
