from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.registry import choose_backend, installed_backends, probe_all
from nonesuch.engine.cuda_driver import find_driver
from nonesuch.engine.errors import BackendUnavailableError
from nonesuch.engine.generator import Generator
from nonesuch.engine.session import SessionOptions

without_a_gpu = pytest.mark.skipif(find_driver().usable, reason="a GPU changes what is chosen")


def test_an_unknown_backend_lists_the_backends() -> None:
    with pytest.raises(BackendUnavailableError) as caught:
        choose_backend("cuda")
    names = "auto, tensorrt, tensorrt-rtx, openvino, onnxruntime, torch"
    assert caught.value.message == f"no backend 'cuda'; use {names}"


@without_a_gpu
def test_auto_takes_the_first_that_works_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = choose_backend("auto")
    assert choice.backend.name == "openvino"
    assert choice.reason.startswith("openvino: the fastest that works here (openvino ")
    monkeypatch.setitem(sys.modules, "openvino", None)  # makes `import` fail
    choice = choose_backend("auto")
    assert choice.backend.name == "onnxruntime"
    assert choice.reason.startswith("onnxruntime: the fastest that works here (onnxruntime ")
    skipped = "tensorrt (not installed), tensorrt-rtx (no driver), openvino (not installed)"
    assert choice.reason.endswith(f"; skipped {skipped}")


def test_a_backend_by_name_says_that_it_was_requested() -> None:
    choice = choose_backend("torch")
    assert choice.backend.name == "torch"
    assert choice.reason.startswith("torch: requested by name (torch ")


def test_the_fastest_comes_first() -> None:
    ranks = [backend.rank for backend in installed_backends().values()]
    assert ranks == sorted(ranks, reverse=True)


@without_a_gpu
def test_every_backend_is_probed() -> None:
    probes = probe_all()
    assert {name for name, probe in probes.items() if probe.usable} == {"onnxruntime", "openvino", "torch"}
    assert all(probe.detail and "\n" not in probe.detail for probe in probes.values())
    assert "pip install 'nonesuch[cpu,tensorrt]'" in probes["tensorrt"].detail
    assert probes["tensorrt-rtx"].detail == (
        "there is no NVIDIA driver (libcuda.so.1 is missing); tensorrt_rtx is installed; it can build plans for other "
        "machines"
    )


def test_without_a_runtime_auto_does_not_fall_back(monkeypatch: pytest.MonkeyPatch, artifact: Artifact) -> None:
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)  # makes `import` fail
    probe = probe_all()["onnxruntime"]
    assert not probe.usable
    assert "nonesuch[cpu]" in probe.detail
    for name in ("auto", "onnxruntime"):
        with pytest.raises(BackendUnavailableError) as caught:
            Generator.open(artifact.folder, backend=name)
        assert "pip install 'nonesuch[cpu]'" in caught.value.message
        assert "\n" not in caught.value.message
    # torch works here, but auto never chooses it.
    assert probe_all()["torch"].usable


def test_without_torch_its_probe_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendUnavailableError, match=r"torch not installed; pip install 'nonesuch\[torch\]'"):
        choose_backend("torch")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("problem", ["ImportError", "RuntimeError", "OSError", "AttributeError"])
def test_a_probe_never_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, problem: str, runtime: str) -> None:
    (tmp_path / f"{runtime}.py").write_text(f"raise {problem}('this machine\\nis too old')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == runtime]:
        monkeypatch.delitem(sys.modules, name)
    probe = probe_all()[runtime]
    assert not probe.usable
    assert "this machine is too old" in probe.detail
    assert "\n" not in probe.detail


def test_probing_and_choosing_import_neither_torch_nor_a_model() -> None:
    code = (
        "import sys; from nonesuch.engine.backends.registry import choose_backend, probe_all; "
        "probe_all(); choose_backend('auto'); print(sorted({'torch', 'onnx', 'safetensors'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_openvino_runs_on_the_cpu_only(artifact: Artifact) -> None:
    with pytest.raises(BackendUnavailableError, match="on device cpu, not on 'cuda:0'"):
        Generator.open(artifact.folder, backend="openvino", options=SessionOptions(device="cuda:0"))
