"""`nonesuch serve` in a process of its own on a free loopback port: started, compared with the engine, and asked."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nonesuch.client import AsyncClient, Client, ClientError
from nonesuch.engine.generator import Generator

from ..agreement import Agreement
from ..result import BenchmarkError
from .child_process import ChildProcess
from .load import OK, Answer, Ask

SUBJECT = "nonesuch serve"
CHECKED_SEEDS = (0, 1)
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
COMMAND = (sys.executable, "-c", _PROGRAM)
"""`nonesuch`, which ends as on SIGTERM when its standard input does: so no server outlives who started it."""
_ADDRESS = re.compile(r"^gRPC\s+(\S+)$", re.MULTILINE)
_WEB = re.compile(r"^web\s+(\S+?)/?$", re.MULTILINE)


class ServerProcess(ChildProcess):
    """A running `nonesuch serve`; `with` starts and stops it.

    with ServerProcess("faces", ["--threads", "2"]) as server:
        Client(server.address)  # HOST:PORT; `server.web` is the URL of the web page, empty without --http
    """

    def __init__(self, model: str | Path, options: Sequence[str] = (), *, start_timeout_s: float = 300.0) -> None:
        """`model` is a name or an artifact's folder; loading may take `start_timeout_s`."""
        serve = ["serve", "--grpc", "127.0.0.1:0", "--model", str(model), "--log-level", "error"]
        super().__init__("the server", [*COMMAND, *serve, "--drain-delay-s", "0", "--drain-s", "10", *options])
        self.address = self.web = ""
        self._start_timeout_s = start_timeout_s

    def start(self) -> None:
        """Start it and return once its health is SERVING; a second call does nothing.

        Raises BenchmarkError where it ended, or did not serve in time; the message has its own last line.
        """
        if self.pid:
            return
        super().start()
        try:
            self.wait_ready(self._check_serving, self._start_timeout_s)
        except BaseException:
            self.stop()
            raise

    def _check_serving(self) -> None:
        output = self.output
        address, web = _ADDRESS.search(output), _WEB.search(output)
        if address is None:
            raise BenchmarkError("it has not said its address; allow it more time")
        self.address, self.web = address[1], web[1] if web else ""
        try:
            with Client(self.address) as client:
                health = client.health(wait_for_ready=True)
        except ClientError as error:
            raise BenchmarkError(f"it does not answer: {error}") from error
        if health != "SERVING":
            raise BenchmarkError(f"it says {health}")


@contextmanager
def checked_server(model: str, options: Sequence[str] = ()) -> Iterator[ServerProcess]:
    """A server whose pictures are the engine's; nothing is timed before that is known.

    Raises BenchmarkError where it does not start, shows another picture, or fails in the block; NonesuchError where the
    model cannot be opened.
    """
    with Generator.open(model) as generator:
        expected = generator.generate(CHECKED_SEEDS)
    with ServerProcess(model, options) as server:
        try:
            with Client(server.address) as client:
                for seed, picture in zip(CHECKED_SEEDS, expected, strict=True):
                    found = client.generate(seed=seed, format="raw").numpy()
                    if problem := Agreement.of(found, picture).problem():
                        raise BenchmarkError(f"the server was asked for seed {seed}: {problem}")
            yield server
        except ClientError as error:
            raise BenchmarkError(f"the server failed while it was measured: {error}") from error


def grpc_ask(client: AsyncClient) -> Ask:
    """Asks for JPEGs of quality 90; the client is made with `retries=False`: a retry would hide what was refused."""

    async def ask(seed: int, deadline_s: float) -> Answer:
        try:
            image = await client.generate(seed=seed, format="jpeg", quality=90, deadline_s=deadline_s)
        except ClientError as error:
            return Answer(error.code.name)
        timing = image.timing
        return Answer(OK, timing.queue_ms, timing.inference_ms, timing.encode_ms, image.batch_size, image.data)

    return ask
