"""`nonesuch serve` in a process of its own, on a free loopback port, ended with the block that started it.

The child also watches its standard input, which nothing is written to: it ends with this process, however that ends,
and the server then stops as on SIGTERM. So no server is left behind, even where this process is killed.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from nonesuch.client import Client, ClientError

from ..measurement import BenchmarkError

__all__ = ["ServerProcess"]

# os.read and not sys.stdin: a thread that waits inside the latter would hold its lock when the interpreter ends.
_PROGRAM = """
import os, signal, threading

def end_with_the_parent():
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end_with_the_parent, daemon=True).start()
from nonesuch.cli.main import main
main()
"""
_ADDRESS = re.compile(r"^gRPC\s+(\S+)$", re.MULTILINE)
_WEB = re.compile(r"^web\s+(\S+?)/?$", re.MULTILINE)
_POLL_S = 0.05
_STOP_S = 30.0


class ServerProcess:
    """A running server; `with` starts and stops it.

        with ServerProcess("faces", ["--threads", "2"]) as server:
            Client(server.address)

    Args of the class: `model`, a name or an artifact's folder; `options`, more options of `nonesuch serve`;
    `start_timeout_s`, how long loading may take.

    Attributes:
        address: of gRPC, HOST:PORT.
        web: of the web page, a URL; empty without the option --http.
    """

    def __init__(self, model: str | Path, options: Sequence[str] = (), *, start_timeout_s: float = 300.0) -> None:
        self.address = self.web = ""
        self._arguments = [
            *("serve", "--grpc", "127.0.0.1:0", "--model", str(model), "--log-level", "error"),
            *("--drain-delay-s", "0", "--drain-s", "10", *options),
        ]
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def pid(self) -> int:
        """The id of the process; 0 while there is none."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it and return once its health is SERVING; a second call does nothing.

        Raises:
            BenchmarkError: it ended, or did not serve in time; the message has its own last line.
        """
        if self._process is not None:
            return
        self._folder = tempfile.TemporaryDirectory(prefix="nonesuch-serve-")
        # Files and not pipes: nobody reads while the benchmark runs, and a full pipe would stop the server.
        with self._output("out").open("wb") as out, self._output("err").open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *self._arguments], stdin=subprocess.PIPE, stdout=out, stderr=err
            )
        try:
            self.address = self._wait_for_address(time.monotonic() + self._start_timeout_s)
            with Client(self.address) as client:
                health = client.health(wait_for_ready=True)
            web = _WEB.search(self._output("out").read_text())
            self.web = web[1] if web else ""
            if health != "SERVING":
                raise BenchmarkError(f"the server at {self.address} says {health} after its start; see its log")
        except ClientError as error:
            self.stop()
            raise BenchmarkError(f"the server was started and does not answer: {error}") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> int | None:
        """End it by SIGTERM, by force where that does not help; its exit code, None if it was not running."""
        process, self._process = self._process, None
        if process is None:
            return None
        try:
            process.send_signal(signal.SIGTERM)
            try:
                return process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                return None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
            if self._folder is not None:
                self._folder.cleanup()

    def _output(self, name: str) -> Path:
        assert self._folder is not None  # noqa: S101 - made before the process
        return Path(self._folder.name) / name

    def _wait_for_address(self, until: float) -> str:
        assert self._process is not None  # noqa: S101 - called right after it was started
        while not (found := _ADDRESS.search(self._output("out").read_text())):
            code = self._process.poll()
            if code is not None:
                lines = self._output("err").read_text().splitlines() or ["it said nothing"]
                raise BenchmarkError(f"the server ended with exit code {code} before it served: {lines[-1]}")
            if time.monotonic() > until:
                raise BenchmarkError(f"the server did not serve within {self._start_timeout_s:g} s; allow it more time")
            time.sleep(_POLL_S)
        return found[1]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
