"""The plan that a session takes, before a device is used: with the real TensorRT-RTX and a fake GPU.

The GPU is a FAKE result of the driver probe; sessions are created but never run.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.cuda_driver import Driver, Gpu, find_driver
from nonesuch.engine.errors import (
    ArtifactError,
    BackendError,
    BackendUnavailableError,
    InvalidRequestError,
    PlanError,
)
from nonesuch.engine.generator import Generator
from nonesuch.engine.session import SessionOptions
from nonesuch.engine.tensorrt import backend as backend_module
from nonesuch.engine.tensorrt.backend import TensorRtBackend, TensorRtRtxBackend, plan_variant
from nonesuch.engine.tensorrt.library import load_library
from nonesuch.engine.tensorrt.plan_cache import PlanCache
from nonesuch.engine.tensorrt.plan_folder import PlanFolder, StoredPlan
from nonesuch.engine.tensorrt.plan_request import PlanRequest
from nonesuch.engine.tensorrt.session import TensorRtSession

without_a_gpu = pytest.mark.skipif(find_driver().usable, reason="there is a GPU")
ADA = Gpu(0, "a fake RTX 4090", 89, 128)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The FAKE GPU, and an empty cache."""
    monkeypatch.setenv("NONESUCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(backend_module, "require_gpu", lambda ordinal: ADA)


def session(artifact: Artifact, **options: object) -> TensorRtSession:
    made = TensorRtRtxBackend().session(artifact, SessionOptions(device="auto", **options))  # type: ignore[arg-type]
    assert isinstance(made, TensorRtSession)
    return made


def test_a_missing_plan_is_built_and_then_found(artifact: Artifact, gpu: None) -> None:
    first, second = session(artifact), session(artifact)
    assert first.plan.record == second.plan.record
    assert first.plan.record.spec.target == "ampere+"
    assert first.identity == second.identity
    assert first.identity.startswith("tensorrt-rtx 1.7.")
    assert first.identity.endswith(f" on a fake RTX 4090 (SM 89), plan {first.plan.record.plan_sha256[:12]}")


@pytest.mark.parametrize(
    ("max_size", "deterministic", "sizes"),
    [(8, False, (1, 2, 4, 8)), (1, False, (1,)), (3, False, (1, 2, 3)), (4, True, (4,))],
)
def test_the_sizes_of_a_session_are_those_of_its_plan(
    artifact: Artifact, gpu: None, max_size: int, deterministic: bool, sizes: tuple[int, ...]
) -> None:
    made = session(artifact, max_batch_size=max_size, deterministic=deterministic)
    assert made.batch_sizes == sizes
    assert made.preferred_batch_size == max_size
    assert made.max_in_flight == 2


def built(artifact: Artifact, *, sizes: tuple[int, ...], **choice: object) -> StoredPlan:
    """A cached plan, as `nonesuch build` with other options leaves it."""
    library, variant = load_library("tensorrt-rtx"), plan_variant(artifact, "tensorrt-rtx")
    return PlanRequest(library, artifact, variant, sizes, **choice).build(PlanCache())  # type: ignore[arg-type]


def test_a_plan_that_was_built_with_other_options_is_used(artifact: Artifact, gpu: None) -> None:
    small, other = built(artifact, sizes=(1, 2)), built(artifact, sizes=(1, 2), sms=(86,))
    assert session(artifact, max_batch_size=2).plan == small  # exactly what it would build
    assert session(artifact, max_batch_size=1).plan == small
    chosen = built(artifact, sizes=(1, 3, 6), sms=(89,), tf32=False)
    made = session(artifact, max_batch_size=4)
    assert made.plan == chosen  # large enough, and for this GPU
    assert made.batch_sizes == (1, 3, 6)
    other.path.with_suffix(".json").write_text("{")  # damage another plan
    assert session(artifact, max_batch_size=6).plan == chosen
    assert session(artifact, max_batch_size=8).plan.record.spec.batch_sizes == (
        1,
        2,
        4,
        8,
    )  # too large for all, so built


def test_a_prebuilt_plan_is_taken_from_its_folder(artifact: Artifact, gpu: None, tmp_path: Path) -> None:
    folder = PlanFolder(tmp_path / "plans")
    for max_size in (2, 4):
        plan = session(artifact, max_batch_size=max_size).plan
        folder.put(f"up-to-{max_size}", plan.read(), plan.record)
    for requested, found, max_size in (
        (1, "up-to-2", 1),
        (2, "up-to-2", 2),
        (3, "up-to-4", 4),  # three images are padded
        (4, "up-to-4", 4),
        (8, "up-to-4", 4),  # no plan is larger
    ):
        made = session(artifact, max_batch_size=requested, plans=str(folder.folder))
        assert made.plan.path.stem == found
        assert made.batch_sizes[-1] == max_size


def test_a_folder_without_a_matching_plan_lists_its_plans(artifact: Artifact, gpu: None, tmp_path: Path) -> None:
    plan = session(artifact, max_batch_size=1).plan
    folder, spec = PlanFolder(tmp_path / "plans"), plan.record.spec
    wrong: dict[str, dict[str, object]] = {
        "other-gpu": {"sms": (86,)},
        "other-version": {"library_version": "1.6.0"},
        "other-graph": {"graph_sha256": "0" * 64},
        "other-platform": {"platform": "windows-amd64"},
    }
    with pytest.raises(PlanError, match=r"folder .* not found; .*--into"):
        session(artifact, plans=str(folder.folder))
    for name, changes in wrong.items():
        record = msgspec.structs.replace(plan.record, spec=msgspec.structs.replace(spec, **changes))
        folder.put(name, plan.read(), record)
    with pytest.raises(PlanError, match=r"has no plan of synthesis.onnx for a fake RTX 4090") as caught:
        session(artifact, plans=str(folder.folder))
    for text in ("other-gpu.plan: for sm86", "for tensorrt-rtx 1.6.0", "of another graph", "for windows-amd64"):
        assert text in caught.value.message


def test_auto_takes_the_first_gpu_that_the_product_supports(
    artifact: Artifact, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver((Gpu(0, "a fake H100", 90, 132), Gpu(1, "a fake RTX 4090", 89, 128)), cuda="13.0")
    monkeypatch.setattr(backend_module, "find_driver", lambda: driver)
    monkeypatch.setattr(backend_module, "require_gpu", lambda ordinal: driver.gpus[ordinal])
    probe = TensorRtRtxBackend().probe()
    assert probe.usable
    assert "a fake RTX 4090" in probe.detail
    assert "a fake RTX 4090" in session(artifact).identity
    with pytest.raises(BackendUnavailableError, match="a fake H100 is SM 90"):
        TensorRtRtxBackend().session(artifact, SessionOptions(device="cuda:0"))


def test_options_for_cpus_are_rejected(artifact: Artifact, gpu: None) -> None:
    for options in ({"threads": 2}, {"lanes": 2}):
        with pytest.raises(BackendUnavailableError, match="threads and lanes are for CPUs"):
            session(artifact, **options)
    with pytest.raises(InvalidRequestError, match="'cpu' is not a GPU; use auto, cuda or cuda:N"):
        TensorRtRtxBackend().session(artifact, SessionOptions(device="cpu"))


@pytest.mark.parametrize("options", [{"plans": "somewhere"}, {"cuda_graphs": True}])
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_options_for_plans_are_rejected_by_other_backends(
    artifact: Artifact, name: str, options: dict[str, object]
) -> None:
    with pytest.raises(BackendUnavailableError, match=f"{next(iter(options))} is for backends tensorrt and"):
        Generator.open(artifact.folder, backend=name, options=SessionOptions(**options))  # type: ignore[arg-type]


def test_an_unsupported_gpu_is_named(artifact: Artifact, gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for sm, name in ((90, "a fake H100"), (87, "a fake Orin")):
        monkeypatch.setattr(backend_module, "require_gpu", lambda ordinal, n=name, s=sm: Gpu(0, n, s, 100))
        with pytest.raises(BackendUnavailableError, match=f"{name} is SM {sm}; use backend tensorrt"):
            session(artifact)
    monkeypatch.setattr(backend_module, "require_gpu", lambda ordinal: Gpu(0, "a fake T4", 75, 40))
    with pytest.raises(ArtifactError, match="no conv1x1 linear variant"):
        session(artifact)


@without_a_gpu
def test_opening_without_a_driver_is_one_line_and_does_not_crash(artifact: Artifact, gpu: None) -> None:
    made = session(artifact)
    with pytest.raises(BackendError, match="driver") as caught:
        made.open()
    assert "\n" not in caught.value.message
    assert not made.is_open
    made.close()


@without_a_gpu
def test_without_a_driver_both_products_report_it(artifact: Artifact) -> None:
    with pytest.raises(BackendUnavailableError, match="there is no NVIDIA driver"):
        session(artifact)
    with pytest.raises(
        BackendUnavailableError, match=r"tensorrt is not installed; pip install 'nonesuch\[cpu,tensorrt\]'"
    ):
        TensorRtBackend().session(artifact, SessionOptions(device="auto"))
