from __future__ import annotations

import pytest

from nonesuch.benchmarks.agreement import Agreement
from nonesuch.benchmarks.result import BenchmarkError
from nonesuch.benchmarks.subjects.subject import Workload
from nonesuch.benchmarks.subjects.torch import REFERENCE_NAME, TorchSubject, torch_subjects
from nonesuch.export.reference.rendering import TorchSettings


def test_every_form_and_layout_takes_part_and_the_reference_is_the_first(tiny_model: str) -> None:
    names = [subject.name for subject in torch_subjects(tiny_model)]
    assert names[0] == REFERENCE_NAME
    assert len(set(names)) == len(names) == 5
    assert sum("torch compile" in name for name in names) == 1
    on_cuda = [subject.name for subject in torch_subjects(tiny_model, device="cuda")]
    assert any("float16, CUDA graphs, cuda" in name for name in on_cuda)
    assert all(name.endswith(", cuda") for name in on_cuda)


def test_every_eager_subject_shows_the_same_picture(tiny_model: str) -> None:
    batch = Workload(tiny_model, images=3).batch(0, 3)
    pictures = []
    for subject in torch_subjects(tiny_model)[:4]:
        subject.open()
        pictures.append(subject.run(batch))
        assert subject.device_ms is None  # a CPU has no clock of its own
        subject.close()
    for other in pictures[1:]:
        assert Agreement.of(other, pictures[0]).problem() == ""


def test_compiling_without_a_compiler_is_refused_by_name(tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(BenchmarkError, match="needs a C\\+\\+ compiler"):
        TorchSubject(tiny_model, TorchSettings(compile=True)).open()


def test_cuda_graphs_need_cuda(tiny_model: str) -> None:
    subject = TorchSubject(tiny_model, TorchSettings(cuda_graphs=True))
    with pytest.raises(Exception, match="they need cuda"):
        subject.open()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Inductor's own imports warn of deprecations inside PyTorch
def test_the_compiled_network_shows_the_same_picture(tiny_model: str) -> None:
    batch = Workload(tiny_model, images=2).batch(0, 2)
    pictures = []
    for settings in (TorchSettings(), TorchSettings("inference", "channels_last", compile=True)):
        subject = TorchSubject(tiny_model, settings)
        subject.open()
        pictures.append(subject.run(batch))
        subject.close()
    assert Agreement.of(pictures[1], pictures[0]).problem() == ""
