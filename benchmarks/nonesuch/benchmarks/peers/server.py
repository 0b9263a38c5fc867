"""A server as a process with whatever processes it starts: waited for, weighed and ended as one."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..measurement import BenchmarkError

__all__ = ["Server", "free_port"]

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 15.0
LEFT_TIMEOUT_S = 1.0
"""For the children of a server that has ended."""
POLL_S = 0.2
_MIB = 1 << 20


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Server:
    """A running server; `with` ends it and all its children.

    Args:
        name: names it in errors.
        command: the program and its arguments.
        environment: variables besides the current ones.
        folder: where it runs.
        log: the file that takes what it prints.

    Raises:
        BenchmarkError: it cannot be started, or psutil is not installed.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], *, folder: Path, log: Path
    ) -> None:
        self.name = name
        self._log = log
        self._psutil = _load_psutil()
        # A path for the running interpreter would bring its packages into a peer's environment.
        inherited = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "PYTHONHOME"}}
        try:
            with log.open("wb") as output:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=folder,
                    env={**inherited, **environment},
                )
        except OSError as error:
            raise BenchmarkError(f"{name} does not start: {error}") from error

    def wait_ready(self, answers: Callable[[], object]) -> None:
        """Call `answers` until it raises no BenchmarkError.

        Raises:
            BenchmarkError: the server ended, or gave no answer in three minutes.
        """
        end = time.monotonic() + START_TIMEOUT_S
        while True:
            if self._process.poll() is not None:
                raise BenchmarkError(f"{self.name} does not start: {self._last_line()}")
            try:
                answers()
                return
            except BenchmarkError as error:
                if time.monotonic() > end:
                    raise BenchmarkError(
                        f"{self.name} gave no picture in {START_TIMEOUT_S:.0f} s: {error.message}"
                    ) from error
            time.sleep(POLL_S)

    def rss_mib(self) -> float:
        """Resident memory of all its processes, MiB; pages that they share count once for each."""
        return float(sum(process.memory_info().rss for process in self._tree())) / _MIB

    def cpu_s(self) -> float:
        """Processor time that its processes have used so far, seconds."""
        return float(sum(sum(process.cpu_times()[:2]) for process in self._tree()))

    def stop(self) -> None:
        """Ask the server to end, and end what is left of it; a second call does nothing."""
        # Listed before the parent is gone: its children would be nobody's then, and some servers leave theirs behind.
        children = self._tree()[1:]
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _, left = self._psutil.wait_procs(children, timeout=LEFT_TIMEOUT_S)
        for process in left:
            with suppress(self._psutil.NoSuchProcess):
                process.kill()
        self._psutil.wait_procs(left, timeout=LEFT_TIMEOUT_S)

    def _tree(self) -> list[Any]:
        with suppress(self._psutil.NoSuchProcess):
            parent = self._psutil.Process(self._process.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def _last_line(self) -> str:
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else f"it ended with code {self._process.returncode} and said nothing"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _load_psutil() -> Any:
    try:
        import psutil  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise BenchmarkError(
            "psutil, which watches the servers, is not installed; install it with: pip install 'nonesuch[bench]'"
        ) from error
    return psutil
