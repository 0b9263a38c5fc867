"""The servers that are compared: how each is installed, started and called."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nonesuch.engine import __version__
from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.onnxruntime import OnnxRuntimeBackend
from nonesuch.engine.home import Home
from nonesuch.engine.latents import DEFAULT_PSI

from ..measurement import BenchmarkError
from .load import Caller, GrpcCaller, HttpCaller
from .server import Server, free_port
from .venv import peer_python, read_pins

__all__ = ["BARE", "CONTENDERS", "NONESUCH", "Contender", "RunningContender", "Setup"]

NONESUCH = "nonesuch"
BARE = "grpc.aio"
PROGRAMS = Path(__file__).parent / "programs"
MAX_WAIT_MS = 5.0
"""How long a server that waits for company may wait: little beside a run, much beside the time between two arrivals."""


@dataclass(frozen=True)
class Setup:
    """What is the same for every server.

    Attributes:
        artifact: the model; its first variant for ONNX Runtime is rendered.
        threads: inside one run.
        max_batch_size: images in one run at most.
        scratch: a folder for logs and for what servers leave behind.
        image_ms: what an image takes in a run, about.
    """

    artifact: Artifact
    threads: int
    max_batch_size: int
    scratch: Path
    image_ms: float = 100.0

    def __post_init__(self) -> None:
        manifest, variant = self.artifact.manifest, self.artifact.variant(OnnxRuntimeBackend.name)
        if manifest.c_dim or variant.inputs:
            raise BenchmarkError(f"peers take seeds only, and model {manifest.name!r} takes more; choose another model")

    def message(self, port: int) -> str:
        """The settings of a peer as `programs/renderer.py` reads them."""
        manifest = self.artifact.manifest
        settings: dict[str, str | int | float] = {
            "artifact": str(self.artifact.folder.resolve()),
            "synthesis": self.artifact.variant(OnnxRuntimeBackend.name).file,
            "z_dim": manifest.z_dim,
            "num_ws": manifest.num_ws,
            "psi": DEFAULT_PSI,
            "threads": self.threads,
            "max_batch_size": self.max_batch_size,
            "max_wait_ms": MAX_WAIT_MS,
            "port": port,
        }
        return json.dumps(settings)


@dataclass(frozen=True)
class Contender:
    """One way to serve.

    Attributes:
        name: as it stands in results.
        requirements: the name of its file in `requirements/`; None for what is installed with nonesuch.
        command: its arguments after the interpreter, for a setup and a port.
        connect: opens a connection to a port.
        form: the form it is used in, for the record.
        batches: whether it can render several requests in one run.
    """

    name: str
    requirements: str | None
    command: Callable[[Setup, int], list[str]]
    connect: Callable[[int], Caller]
    form: str
    batches: bool = True

    def start(self, setup: Setup, home: Home) -> RunningContender:
        """Install it if need be and start it; it may not answer yet.

        Raises:
            BenchmarkError: it does not install or start.
        """
        pins = read_pins(self.requirements) if self.requirements else [f"nonesuch=={__version__}"]
        python = peer_python(self.requirements, pins, home) if self.requirements else Path(sys.executable)
        port = free_port()
        environment = {
            "NONESUCH_PEER": setup.message(port),
            "PYTHONDONTWRITEBYTECODE": "1",  # the programs' folder may not be the user's to write
            "BENTOML_HOME": str(setup.scratch / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
        }
        command = [str(python), *self.command(setup, port)]
        log = setup.scratch / f"{self.name.replace(' ', '_')}.log"
        server = Server(self.name, command, environment, folder=PROGRAMS, log=log)
        what = f"{pins[0].replace('==', ' ')}, {OnnxRuntimeBackend().probe().detail}"
        batch = f"batches of at most {setup.max_batch_size}" if self.batches else "no batches"
        return RunningContender(self, server, port, f"{what}, {setup.threads} threads, {batch}; {self.form}")


@dataclass(frozen=True)
class RunningContender:
    """A server that was started, and how to reach it."""

    contender: Contender
    server: Server
    port: int
    detail: str

    def connect(self) -> Caller:
        """A new connection."""
        return self.contender.connect(self.port)

    def wait_ready(self) -> None:
        """Wait until it gives a picture.

        Raises:
            BenchmarkError: it ended, or gave none in three minutes.
        """
        self.server.wait_ready(lambda: self.pictures(range(1)))

    def pictures(self, seeds: range) -> list[bytes]:
        """The JPEGs of some seeds, one call after another.

        Raises:
            BenchmarkError: one did not come.
        """
        caller = self.connect()
        try:
            return [caller.picture(seed) for seed in seeds]
        finally:
            caller.close()


def _nonesuch(setup: Setup, port: int) -> list[str]:
    options: dict[str, object] = {
        "grpc": f"127.0.0.1:{port}",
        "model": setup.artifact.folder.resolve(),
        "backend": OnnxRuntimeBackend.name,
        "threads": setup.threads,
        "batch": setup.max_batch_size,
        "min-batch-gain": 0,  # the size was measured once, for all servers
        "log-level": "error",
    }
    run = "import sys; from nonesuch.cli.main import main; sys.exit(main())"
    return ["-c", run, "serve", *(part for key, value in options.items() for part in (f"--{key}", str(value)))]


def _program(name: str, *arguments: str) -> Callable[[Setup, int], list[str]]:
    return lambda _, port: [f"{name}_peer.py", *(argument.format(port=port) for argument in arguments)]


def _bentoml(_: Setup, port: int) -> list[str]:
    return ["-m", "bentoml", "serve", "bentoml_peer:Faces", "--host", "127.0.0.1", "--port", str(port)]


CONTENDERS: tuple[Contender, ...] = (
    Contender(NONESUCH, None, _nonesuch, GrpcCaller, "nonesuch serve, nonesuch.client over gRPC"),
    Contender(BARE, "grpc", _program("grpc"), GrpcCaller, "a bare handler, nonesuch.client", batches=False),
    Contender(
        "litserve",
        "litserve",
        _program("litserve"),
        lambda port: HttpCaller(port, "/predict"),
        "one LitAPI, one worker process, HTTP/1.1",
    ),
    Contender(
        "mosec",
        "mosec",
        _program("mosec", "--address", "127.0.0.1", "--port", "{port}", "--timeout", "600000"),
        lambda port: HttpCaller(port, "/inference"),
        "a process that renders, a process that encodes, HTTP/1.1",
    ),
    Contender(
        "bentoml",
        "bentoml",
        _bentoml,
        lambda port: HttpCaller(port, "/generate"),
        "a service that renders, a service that encodes, HTTP/1.1",
    ),
)
"""`nonesuch serve` first: it is what the others are compared with."""
