from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from nonesuch.engine import __version__
from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.registry import installed_backends

Call = Callable[..., subprocess.CompletedProcess[str]]


def starting(outcome: subprocess.CompletedProcess[str], word: str) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in outcome.stdout.splitlines() if line.split()[0] == word]


def test_doctor_names_every_backend_and_the_one_that_it_would_take(run: Call, artifact: Artifact, home: Path) -> None:
    done = run("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"nonesuch {__version__}, Python ")
    backends = dict(line.split(": ", 1) for line in starting(done, "backend"))
    assert set(backends) == set(installed_backends())
    assert backends["onnxruntime"].startswith("ready (onnxruntime ")
    assert starting(done, "auto")[0].startswith("openvino: the fastest that works here")
    assert starting(done, "home") == [str(home)]
    assert starting(done, "models") == ["none exported yet; nonesuch export faces"]
    assert not home.exists()


def test_doctor_without_a_runtime_fails_and_says_what_to_install(
    run: Call, artifact: Artifact, home: Path, tmp_path: Path
) -> None:
    shutil.copytree(artifact.folder, home / "artifacts" / "small")
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['onnxruntime'] = sys.modules['openvino'] = None\n"
    )
    done = run("doctor", PYTHONPATH=os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])))
    assert (done.returncode, done.stderr) == (1, "")
    backends = dict(line.split(": ", 1) for line in starting(done, "backend"))
    assert backends["onnxruntime"].startswith("missing (")
    assert "pip install 'nonesuch[cpu]'" in backends["onnxruntime"]
    (auto,) = starting(done, "auto")
    assert auto.startswith("no usable backend: ")
    assert "pip install 'nonesuch[cpu]'" in auto
    assert starting(done, "models") == ["small"]
