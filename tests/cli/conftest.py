"""Runs the command: as users do, in a process of its own, and in this process where the case is one of many."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from nonesuch.cli.main import main

PROGRAM = Path(sys.executable).parent / "nonesuch"
TIMEOUT_S = 120

Outcome = subprocess.CompletedProcess[str]
Call = Callable[..., Outcome]
"""call("generate", ...) -> returncode, stdout, stderr"""
LineOf = Callable[..., str]
"""line_of(outcome, code=1) -> the one line that says what went wrong"""
Start = Callable[..., AbstractContextManager[subprocess.Popen[str]]]


@pytest.fixture(autouse=True)
def home(_own_home: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for each test, empty, which the test's processes have too."""
    folder = tmp_path / "home"
    monkeypatch.setenv("NONESUCH_HOME", str(folder))
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    return folder


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No package index can be reached."""
    empty = tmp_path / "no packages"
    empty.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", empty.as_uri())
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


@pytest.fixture
def run() -> Call:
    """The installed command in a process of its own."""

    def run(*arguments: object, stdout: int = subprocess.PIPE, **environment: str) -> Outcome:
        return subprocess.run(
            [str(PROGRAM), *map(str, arguments)],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env=os.environ | environment,
            timeout=TIMEOUT_S,
        )

    return run


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """The same `main`, in this process: half a second cheaper."""

    def call(*arguments: object) -> Outcome:
        command = ["nonesuch", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        capsys.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        assert isinstance(code, int)
        return Outcome(command, code, out, err)

    return call


@pytest.fixture
def line_of() -> LineOf:
    """Checks what every failure has in common, and gives its message."""

    def line_of(outcome: Outcome, code: int = 1) -> str:
        assert outcome.returncode == code, outcome.stderr
        assert outcome.stdout == ""
        assert "Traceback" not in outcome.stderr
        assert "Warning" not in outcome.stderr
        lines = outcome.stderr.splitlines()
        ours = [line for line in lines if line.startswith(("nonesuch: ", "Error: "))]
        assert ours == lines[-1:], outcome.stderr
        if code == 1:
            assert ours[0].startswith("nonesuch: ")
        return ours[0]

    return line_of


@contextmanager
def start_command(*arguments: object, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The installed command, running; it is ended with the block, whatever happened there."""
    process = subprocess.Popen(
        [str(PROGRAM), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env=os.environ | environment,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=TIMEOUT_S)


@pytest.fixture(scope="session", autouse=True)
def heed_ctrl_c() -> None:
    """Undo a shell's SIG_IGN for SIGINT, set for background jobs, because commands under test would inherit it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def start() -> Start:
    """As `start_command`."""
    return start_command


@pytest.fixture(scope="session")
def read_until() -> Callable[[subprocess.Popen[str], str], list[str]]:
    """Reads lines of a process's standard output up to the first that matches; fails after a long while."""

    def read_until(process: subprocess.Popen[str], pattern: str) -> list[str]:
        assert process.stdout is not None
        assert process.stderr is not None
        # The descriptor itself is read: a buffered reader would hold lines that select does not see.
        text, end = "", time.monotonic() + TIMEOUT_S
        while not re.search(pattern, text, re.MULTILINE):
            assert select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))[0], f"only {text!r}"
            part = os.read(process.stdout.fileno(), 4096).decode()
            assert part, f"it ended after {text!r}: {process.stderr.read()}"
            text += part
        return text.splitlines()

    return read_until
