from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.registry import installed_backends
from nonesuch.engine.generator import Generator
from nonesuch.engine.home import Home
from nonesuch.engine.machine import machine_id, usable_cores
from nonesuch.engine.session import SessionOptions
from nonesuch.engine.tuning import TunedSettings, Tuning


def settings(artifact: Artifact, name: str, image_ms: float, **changes: object) -> TunedSettings:
    session = installed_backends()[name].session(artifact, SessionOptions())
    plain = TunedSettings(
        backend=name,
        identity=session.identity,
        variant_sha256=session.variant.sha256,
        upsampling=session.variant.upsampling,
        precision="fp32",
        threads=1,
        lanes=2,
        image_ms=image_ms,
        batch_image_ms=image_ms,
    )
    return msgspec.structs.replace(plain, **changes)


def save(artifact: Artifact, *found: TunedSettings) -> None:
    Tuning(created="2026-11-23T10:00:00+00:00", cpu="a processor", settings=found).save(artifact)


@pytest.fixture(autouse=True)
def no_tuning(artifact: Artifact) -> None:
    Tuning.path(artifact).unlink(missing_ok=True)


def test_auto_takes_the_fastest_measured_settings(artifact: Artifact) -> None:
    save(artifact, settings(artifact, "onnxruntime", 1.0), settings(artifact, "openvino", 2.0))
    generator = Generator.open(artifact.folder)
    assert generator.session.identity.startswith("onnxruntime ")
    assert (generator.session.options.threads, generator.session.options.lanes) == (1, 2)
    assert generator.backend_reason.startswith("onnxruntime: the fastest, as nonesuch tune measured on 2026-11-23")
    named = Generator.open(artifact.folder, backend="openvino")
    assert named.session.identity.startswith("openvino ")
    assert named.session.options.lanes == 2
    assert named.backend_reason.startswith("openvino: requested by name, as nonesuch tune measured")
    with generator:
        assert generator.generate([0, 1, 2]).shape == (3, 32, 32, 3)


def test_tuning_can_be_disabled_and_options_override_it(artifact: Artifact) -> None:
    save(artifact, settings(artifact, "onnxruntime", 1.0))
    assert Generator.open(artifact.folder, tuned=False).session.identity.startswith("openvino ")
    chosen = Generator.open(artifact.folder, options=SessionOptions(lanes=1, upsampling="haar_conv_transpose"))
    assert (chosen.session.options.threads, chosen.session.options.lanes) == (1, 1)
    # The measured lanes are for another number of threads.
    threads = Generator.open(artifact.folder, options=SessionOptions(threads=2)).session.options
    assert (threads.threads, threads.lanes) == (2, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"identity": "onnxruntime 0.0.1 CPUExecutionProvider"},
        {"variant_sha256": "0" * 64},
        {"backend": "a backend that is gone"},
        {"upsampling": "a form that is gone"},
    ],
    ids=str,
)
def test_outdated_settings_are_skipped(artifact: Artifact, changes: dict[str, str]) -> None:
    save(artifact, settings(artifact, "onnxruntime", 1.0, **changes), settings(artifact, "openvino", 2.0))
    assert Generator.open(artifact.folder).session.identity.startswith("openvino ")
    save(artifact, settings(artifact, "onnxruntime", 1.0, **changes))
    assert "nonesuch tune" not in Generator.open(artifact.folder).backend_reason


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"format": 2}'])
def test_a_damaged_file_is_ignored(artifact: Artifact, content: bytes) -> None:
    path = Tuning.path(artifact)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    assert Tuning.find(artifact) is None
    assert Generator.open(artifact.folder).session.options.lanes is None


def test_a_newer_format_is_not_read(artifact: Artifact) -> None:
    found = Tuning(format=2, created="", cpu="", settings=(settings(artifact, "openvino", 1.0),))
    found.save(artifact)
    assert Tuning.find(artifact) is None


def test_it_is_stored_by_model_and_machine_outside_the_artifact(artifact: Artifact) -> None:
    before = sorted(artifact.folder.iterdir())
    found = Tuning(created="now", cpu="a processor", settings=(settings(artifact, "openvino", 1.0),))
    path = found.save(artifact)
    assert path == Home.default().root / "cache" / artifact.manifest.model_id / machine_id() / "tuning.json"
    assert Tuning.find(artifact) == found
    assert found.of("openvino") == found.fastest()
    assert found.of("torch") is None
    assert sorted(artifact.folder.iterdir()) == before
    # The folders beside it are caches of runtimes.
    assert [entry.name for entry in path.parent.iterdir() if entry.is_file()] == ["tuning.json"]


def test_the_machine_id_is_stable_and_depends_on_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine_id() == machine_id()
    assert len(machine_id()) == 12
    one = machine_id()
    monkeypatch.setattr("nonesuch.engine.machine.usable_cores", lambda: usable_cores() + 1)
    assert machine_id() != one


def test_unset_options_are_filled_with_the_measured_settings(artifact: Artifact) -> None:
    measured = settings(artifact, "openvino", 1.0)
    options = SessionOptions(max_batch_size=3, spinning=False)
    wanted = replace(options, threads=1, lanes=2, upsampling="haar_butterfly", precision="fp32")
    assert measured.apply(options) == wanted
