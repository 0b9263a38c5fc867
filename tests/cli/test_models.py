from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.home import Home
from nonesuch.export.catalogue import CATALOGUE, find_entry
from nonesuch.export.https_download import HttpsFile

from ..https_shelf import Shelf

Call = Callable[..., subprocess.CompletedProcess[str]]
LineOf = Callable[..., str]

FACES = find_entry("faces")
FFHQ = find_entry("ffhq-1024-sg2ada")


def facts(text: str) -> dict[str, str]:
    pairs = [line.split(":", 1) for line in text.splitlines()]
    return {key: value.strip() for key, value in pairs}


def test_list_and_show_in_an_empty_home(call: Call, home: Path) -> None:
    listed = call("models", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    first, second, blank, heading, *public = listed.stdout.splitlines()
    assert first == f"faces (default): {FACES.summary}"
    assert second.strip() == f"not here; download 38 MB; {FACES.licence}"
    assert (blank, heading.split(",")[0]) == ("", "Public checkpoints")
    assert len(public) == len(CATALOGUE) - 1
    assert f"{FFHQ.name}: {FFHQ.summary}; {FFHQ.licence}" in public
    for shown in (call("models", "show"), call("models", "show", "faces")):
        assert (shown.returncode, shown.stderr) == (0, "")
        found = facts(shown.stdout)
        assert found["resolution"] == "1024x1024"
        assert found["tried"] == "yes"
        assert found["sha256"] == FACES.file.sha256
        assert found["terms"] == FACES.terms
        assert found["state"] == "not here"
        assert found["artifact"] == "none; nonesuch export faces"
    assert not home.exists()


def test_show_says_what_is_not_known_of_a_public_checkpoint(call: Call, home: Path) -> None:
    shown = call("models", "show", FFHQ.name)
    assert (shown.returncode, shown.stderr) == (0, "")
    found = facts(shown.stdout)
    assert found["source"] == FFHQ.file.describe()
    assert found["tried"].startswith("no: ")
    assert (found["size"], found["sha256"]) == ("not published", "not published; recorded on first use")
    assert (found["licence"], found["terms"], found["card"]) == (FFHQ.licence, FFHQ.terms, FFHQ.card)
    assert found["artifact"] == f"none; nonesuch export {FFHQ.name}"
    assert not home.exists()


def test_a_public_checkpoint_at_hand_is_recorded_and_checked(
    call: Call, line_of: LineOf, home: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "ffhq.pkl"
    copy.write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    pulled = call("models", "pull", FFHQ.name, "--from", copy)
    assert (pulled.returncode, pulled.stdout) == (0, f"{home / 'downloads' / FFHQ.file.filename}\n"), pulled.stderr
    terms, recorded = pulled.stderr.splitlines()
    assert terms == f"Terms of {FFHQ.name}: {FFHQ.terms}"
    assert recorded == f"No hash was published; this one is recorded here and checked from now on: sha256 {sha256}"
    assert f"{FFHQ.name}: downloaded; {FFHQ.summary}" in call("models", "list").stdout
    found = facts(call("models", "show", FFHQ.name).stdout)
    assert (found["state"], found["sha256"]) == ("downloaded", f"{sha256} (recorded on first use)")
    assert call("models", "pull", FFHQ.name).stderr == pulled.stderr  # it is here: nothing is asked of any address
    (home / "downloads" / FFHQ.file.filename).unlink()
    copy.write_bytes(b"others")
    line = line_of(call("models", "pull", FFHQ.name, "--from", copy))
    assert f"{copy} is not the {FFHQ.file.filename} that was first used here" in line


def test_pull_tells_terms_and_address_before_it_asks_for_anything(
    call: Call, line_of: LineOf, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Shelf(b"weights").running() as shelf:
        file = HttpsFile("net.pkl", url=shelf.url, allow_loopback=True)
        monkeypatch.setitem(CATALOGUE, "net", replace(FFHQ, name="net", file=file))
        shelf.status = 404
        refused = call("models", "pull", "net")
        assert "answered 404" in line_of(refused)
        told = [f"Terms of net: {FFHQ.terms}", f"From {shelf.url}, an untested address."]
        assert refused.stderr.splitlines()[:2] == told
        shelf.status = None
        pulled = call("models", "pull", "net")
        assert (pulled.returncode, pulled.stdout) == (0, f"{home / 'downloads' / 'net.pkl'}\n"), pulled.stderr
        assert pulled.stderr.splitlines()[:2] == told


def test_a_terminal_gets_a_bar_on_standard_error(call: Call, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nonesuch.cli.models_command.on_terminal", lambda: True)
    with Shelf(bytes(1 << 20)).running() as shelf:
        file = HttpsFile("net.pkl", url=shelf.url, allow_loopback=True)
        monkeypatch.setitem(CATALOGUE, "net", replace(FFHQ, name="net", file=file))
        pulled = call("models", "pull", "net")
    assert pulled.stdout == f"{home / 'downloads' / 'net.pkl'}\n"
    assert "net.pkl: " in pulled.stderr
    assert "/1.00M" in pulled.stderr


def test_models_that_were_exported_here_are_listed_and_shown(call: Call, artifact: Artifact, home: Path) -> None:
    shutil.copytree(artifact.folder, home / "artifacts" / "small")
    assert f"small: exported to {home / 'artifacts' / 'small'}" in call("models", "list").stdout.splitlines()
    shown = call("models", "show", "small")
    assert (shown.returncode, shown.stderr) == (0, "")
    found = facts(shown.stdout)
    assert found["name"] == "small"
    assert found["resolution"] == "32x32"
    assert found["model id"] == artifact.manifest.model_id
    (home / "artifacts" / "small" / "mapping.onnx").write_bytes(b"")
    assert "mapping.onnx was altered" in facts(call("models", "show", "small").stdout)["artifact"]


@pytest.mark.parametrize("command", [["models", "show"], ["models", "pull"], ["export"]])
def test_an_unknown_name_is_answered_with_the_way_to_the_known_ones(
    call: Call, line_of: LineOf, command: list[str]
) -> None:
    line = line_of(call(*command, "nope"))
    assert line == "nonesuch: no model 'nope' in the catalogue; see nonesuch models list"


def test_pull_refuses_a_file_that_is_not_the_published_one(
    call: Call, line_of: LineOf, home: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / FACES.file.filename
    wrong.write_bytes(b"something else")
    line = line_of(call("models", "pull", "faces", "--from", wrong))
    assert f"{wrong} is not the published {FACES.file.filename}" in line
    assert "it was not kept" in line
    assert not (home / "downloads" / FACES.file.filename).exists()
    line = line_of(call("models", "pull", "faces", "--from", tmp_path / "none.whl"))
    assert line == f"nonesuch: {tmp_path / 'none.whl'} cannot be read (No such file or directory)"


@pytest.mark.faces
@pytest.mark.usefixtures("offline")
def test_pull_from_a_copy_needs_no_network(run: Call, call: Call, faces_home: Home, home: Path) -> None:
    pulled = run("models", "pull", "faces", "--from", faces_home.downloads / FACES.file.filename)
    target = home / "downloads" / FACES.file.filename
    assert (pulled.returncode, pulled.stdout) == (0, f"{target}\n"), pulled.stderr
    assert pulled.stderr == f"Terms of faces: {FACES.terms}\n"
    assert target.stat().st_size == FACES.file.size_bytes
    assert call("models", "pull").stdout == f"{target}\n"
    assert "downloaded; " in call("models", "list").stdout


@pytest.mark.faces
@pytest.mark.usefixtures("offline")
def test_export_replaces_an_artifact_by_force_and_nothing_else(
    call: Call, run: Call, line_of: LineOf, artifact: Artifact, faces_home: Home, tmp_path: Path
) -> None:
    out = tmp_path / "faces"
    shutil.copytree(artifact.folder, out)
    copy = ("--from", faces_home.downloads / FACES.file.filename)
    line = line_of(call("export", "faces", "--out", out, *copy))
    assert f"{out} exists, and artifacts never change" in line
    assert "--force" in line
    assert Artifact.open(out).manifest == artifact.manifest
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").touch()
    line = line_of(call("export", "faces", "--out", tmp_path / "letters", "--force"))
    assert f"{tmp_path / 'letters'} is not an artifact" in line
    assert (tmp_path / "letters" / "dear.txt").exists()
    done = run("export", "faces", "--out", out, "--force", *copy)
    assert (done.returncode, done.stdout) == (0, f"{out}\n"), done.stderr
    terms, checked = done.stderr.splitlines()
    manifest = Artifact.open(out).manifest
    assert terms == f"Terms of faces: {FACES.terms}"
    assert checked == f"checked: {manifest.checked}"
    assert (manifest.name, manifest.resolution) == ("faces", 1024)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
