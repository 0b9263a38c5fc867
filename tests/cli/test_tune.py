from __future__ import annotations

from pathlib import Path

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.machine import machine_id

from .conftest import Call, LineOf


def test_tune_measures_and_the_next_command_follows_it(
    call: Call, artifact: Artifact, home: Path, tmp_path: Path
) -> None:
    model = str(artifact.folder)
    tuned = call("tune", model, "--quick", "--rounds", "1", "--backend", "onnxruntime")
    assert tuned.returncode == 0, tuned.stderr
    settings, path = tuned.stdout.splitlines()
    assert settings.startswith("onnxruntime: ")
    assert "ms an image alone" in settings
    assert Path(path) == home / "cache" / artifact.manifest.model_id / machine_id() / "tuning.json"
    made = call("generate", "--model", model, "--seeds", "0", "--out", tmp_path / "pictures")
    assert made.returncode == 0, made.stderr
    assert "onnxruntime: the fastest, as nonesuch tune measured on " in made.stderr
    assert sorted(entry.name for entry in artifact.folder.iterdir()) == sorted(
        ["manifest.json", *artifact.manifest.files]
    )


def test_a_dry_run_keeps_nothing(call: Call, artifact: Artifact, home: Path) -> None:
    tuned = call("tune", artifact.folder, "--quick", "--rounds", "1", "--backend", "onnxruntime", "--dry-run")
    assert tuned.returncode == 0, tuned.stderr
    assert tuned.stdout.startswith("onnxruntime: ")
    assert not (home / "cache").exists()


def test_what_cannot_be_tuned_is_one_line(call: Call, line_of: LineOf, artifact: Artifact) -> None:
    line = line_of(call("tune", artifact.folder, "--backend", "cuda"))
    assert "no backend can run" in line
    assert "nonesuch doctor" in line
    assert "no model 'nobody'" in line_of(call("tune", "nobody"))
