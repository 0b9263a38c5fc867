"""Fixtures for the readers' tests: one-line errors, and an audit of everything that is executed or written."""

from __future__ import annotations

import codecs
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nonesuch.engine.errors import CheckpointError
from nonesuch.export.formats.detect import read_checkpoint
from nonesuch.export.formats.read_limits import DEFAULT_LIMITS, ReadLimits

from .forging import ALL, fixture_path

_FORBIDDEN = ("exec", "compile", "marshal.", "pickle.find_class", "os.", "subprocess.", "socket.", "shutil.", "ctypes.")
_ALLOWED = ("os.scandir", "os.listdir")
_watching: list[list[str]] = []


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event == "open":
        mode = args[1]
        if isinstance(mode, str) and set(mode) & set("wax+"):
            _watching[-1].append(f"open {args[0]!r} {mode}")
    elif event.startswith(_FORBIDDEN) and event not in _ALLOWED:
        _watching[-1].append(event)


@pytest.fixture(scope="session", autouse=True)
def audit() -> None:
    """Install Python's audit hook once, because it cannot be removed."""
    for name in ALL:  # triggers late imports, which execute code
        read_checkpoint(fixture_path(name))
    codecs.lookup("cp437")  # for names in zips
    sys.addaudithook(_hook)


@pytest.fixture(scope="session")
def watched() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Return a context manager that fails if anything is executed, started, connected or written inside it."""

    @contextlib.contextmanager
    def watch() -> Iterator[None]:
        seen: list[str] = []
        _watching.append(seen)
        try:
            yield
        finally:
            _watching.pop()
        assert not seen, seen

    return watch


@pytest.fixture
def refusal(tmp_path: Path, watched: Callable[[], contextlib.AbstractContextManager[None]]) -> Callable[..., str]:
    """Return a function that reads a file with some content and returns its error, one line."""

    def read_error(content: bytes | Path, limits: ReadLimits = DEFAULT_LIMITS) -> str:
        if isinstance(content, bytes):
            path = tmp_path / "checkpoint"
            path.write_bytes(content)
        else:
            path = content
        before = sorted(tmp_path.rglob("*"))
        with watched(), pytest.raises(CheckpointError) as caught:
            read_checkpoint(path, limits)
        assert sorted(tmp_path.rglob("*")) == before
        assert caught.value.message.startswith(f"{path}: ")
        assert "\n" not in caught.value.message
        assert len(caught.value.message) < len(str(path)) + 400
        return caught.value.message.removeprefix(f"{path}: ")

    return read_error
