from __future__ import annotations

from pathlib import Path

import pytest

from nonesuch.engine.home import Home


def test_the_environment_decides_and_nothing_is_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NONESUCH_HOME", str(tmp_path / "mine"))
    home = Home.default()
    assert home.root == tmp_path / "mine"
    assert {path.parent for path in (home.downloads, home.checkpoints, home.artifacts)} == {home.root}
    assert not home.root.exists()


def test_a_tilde_is_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("NONESUCH_HOME", "~/models")
    assert Home.default().root == tmp_path / "models"


@pytest.mark.parametrize("value", [None, ""])
def test_the_default_is_the_platforms_folder(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is None:
        monkeypatch.delenv("NONESUCH_HOME")
    else:
        monkeypatch.setenv("NONESUCH_HOME", value)
    assert Home.default().root.name == "nonesuch"
    assert Home.default().root.is_absolute()
