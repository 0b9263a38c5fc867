"""A process that a benchmark starts, with whatever processes that starts: waited for, weighed and ended as one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from ..environment import load_psutil
from ..result import BenchmarkError

START_TIMEOUT_S, STOP_TIMEOUT_S, CHILDREN_TIMEOUT_S, POLL_S = 180.0, 30.0, 1.0, 0.05
_MIB = 1 << 20


class ChildProcess:
    """A process; `with` starts it, and ends it with all its children.

    Its standard input is a pipe that nothing is written to, and that closes when this process ends, however that ends:
    a child that reads it can end as well. Errors call the process by its name.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] = {}, folder: Path | None = None
    ) -> None:
        """Nothing is started yet; `environment` has variables besides the current ones, `folder` is where it runs."""
        self.name = name
        self._command, self._folder = command, folder
        # A path for the running interpreter would bring its packages into the environment of another.
        foreign = {"PYTHONPATH", "PYTHONHOME"} if command[0] != sys.executable else set()
        inherited = {key: value for key, value in os.environ.items() if key not in foreign}
        self._environment = {**inherited, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: TemporaryDirectory[str] | None = None

    @property
    def pid(self) -> int:
        """The id of the process; 0 while there is none."""
        return self._process.pid if self._process else 0

    @property
    def output(self) -> str:
        """What it has printed so far, errors included."""
        return self._log.read_text(errors="replace") if self._scratch else ""

    def start(self) -> None:
        """Start it; it may not be ready yet. A second call does nothing.

        Raises BenchmarkError where it cannot be started.
        """
        if self._process is not None:
            return
        self._scratch = TemporaryDirectory(prefix="nonesuch-bench-", ignore_cleanup_errors=True)
        try:
            # A file and not a pipe: nobody reads while the benchmark runs, and a full pipe would stop the process.
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, cwd=self._folder,
                    env=self._environment,
                )  # fmt: skip
        except OSError as error:
            self.stop()
            raise BenchmarkError(f"{self.name} does not start: {error}") from error

    def wait_ready(self, check: Callable[[], object], timeout_s: float = START_TIMEOUT_S) -> None:
        """Call `check` until it raises no BenchmarkError.

        Raises BenchmarkError where the process ended, with its last line, or was not ready in time.
        """
        end = time.monotonic() + timeout_s
        while True:
            code = self._process.poll() if self._process else None
            if code is not None:
                raise BenchmarkError(f"{self.name} does not start; it ended with exit code {code}: {self.last_line()}")
            try:
                check()
                return
            except BenchmarkError as error:
                if time.monotonic() > end:
                    raise BenchmarkError(f"{self.name} was not ready in {timeout_s:g} s: {error.message}") from error
            time.sleep(POLL_S)

    def finish(self, timeout_s: float) -> str:
        """Close its standard input, wait until it ends by itself, and give the last line that it printed.

        Raises BenchmarkError where it failed, or did not end in time.
        """
        assert self._process is not None and self._process.stdin is not None  # noqa: S101, PT018 - it was started
        self._process.stdin.close()
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"{self.name} did not end in {timeout_s:g} s; the machine is overloaded") from None
        if code:
            raise BenchmarkError(f"{self.name} failed with exit code {code}: {self.last_line()}")
        return self.last_line()

    def last_line(self) -> str:
        """The last line that it printed."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"

    def rss_mib(self) -> float:
        """Resident memory of all its processes, MiB; pages that they share count once for each."""
        return float(sum(process.memory_info().rss for process in _tree(self.pid))) / _MIB

    def cpu_s(self) -> float:
        """Processor time that its processes have used so far, seconds."""
        return float(sum(sum(process.cpu_times()[:2]) for process in _tree(self.pid)))

    def stop(self) -> int | None:
        """End it by SIGTERM, and by force what is left then; its exit code, None if it was forced or not running."""
        process, self._process, code = self._process, None, None
        if process is not None:
            # Listed before the parent is gone: its children would be nobody's then, and some servers leave theirs.
            children = _tree(process.pid)[1:] if find_spec("psutil") else []
            process.terminate()
            with process:  # closes the pipe, and waits
                try:
                    code = process.wait(STOP_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    process.kill()
            if children:
                _, left = load_psutil().wait_procs(children, timeout=CHILDREN_TIMEOUT_S)
                for child in left:
                    with suppress(load_psutil().NoSuchProcess):
                        child.kill()
                load_psutil().wait_procs(left, timeout=CHILDREN_TIMEOUT_S)
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None
        return code

    @property
    def _log(self) -> Path:
        assert self._scratch is not None  # noqa: S101 - made before the process
        return Path(self._scratch.name) / "log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _tree(pid: int) -> list[Any]:
    """The process and its descendants, as psutil's; nothing where there is none."""
    psutil = load_psutil()
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []
