from __future__ import annotations

import os
from pathlib import Path

import pytest

from nonesuch.engine.atomic_file import staged_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tuning.json"


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_file_takes_its_place_when_it_is_whole(path: Path, old: bytes | None, sync: bool) -> None:
    if old is not None:
        path.write_bytes(old)
    with staged_file(path, prefix=".new-", suffix=".mp4", sync=sync) as staging:
        assert (staging.parent, staging.name[:5], staging.suffix) == (path.parent, ".new-", ".mp4")
        staging.write_bytes(b"new")
        assert (path.read_bytes() if path.exists() else None) == old
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_file_that_was_not_finished_leaves_the_old_one(path: Path, error: type[BaseException]) -> None:
    path.write_bytes(b"old")

    def write() -> None:
        with staged_file(path) as staging:
            staging.write_bytes(b"ne")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_two_writers_at_once_do_not_meet(path: Path) -> None:
    with staged_file(path) as first, staged_file(path) as second:
        first.write_bytes(b"first")
        second.write_bytes(b"second")
    assert path.read_bytes() == b"first"  # whose block ended last
    assert list(path.parent.iterdir()) == [path]


def test_a_place_that_is_a_folder_is_left(path: Path) -> None:
    path.mkdir()
    with pytest.raises(OSError, match="directory"), staged_file(path):
        pass
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of this kind are not Windows'")
@pytest.mark.parametrize(("mode", "umask", "expected"), [(0o666, 0o022, 0o644), (0o600, 0, 0o600)])
def test_permissions_are_those_that_were_asked_for(path: Path, mode: int, umask: int, expected: int) -> None:
    before = os.umask(umask)
    try:
        with staged_file(path, mode=mode) as staging:
            staging.write_bytes(b"new")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == expected
