"""The servers that are compared: how each is installed, started and called."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from nonesuch.client import AsyncClient
from nonesuch.engine import __version__
from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.onnxruntime import OnnxRuntimeBackend
from nonesuch.engine.home import Home
from nonesuch.engine.latents import DEFAULT_PSI

from ..result import BenchmarkError
from ..serve.child_process import ChildProcess
from ..serve.load import OK, Answer, Ask
from ..serve.server import COMMAND, grpc_ask
from .venv import python_with, read_pins

NONESUCH, BARE = "nonesuch", "grpc.aio"
PROGRAMS = Path(__file__).parent / "programs"
MAX_WAIT_MS = 5.0
"""How long a server that waits for company may wait: little beside a run, much beside the time between two arrivals."""
MAX_CONNECTIONS = 32  # of one HTTP client; a request that finds them all busy waits, and that counts
DEADLINE_S = 120.0


@dataclass(frozen=True)
class Setup:
    """What is the same for every server."""

    artifact: Artifact  # the model; its first variant for ONNX Runtime is rendered
    threads: int  # inside one run
    max_batch_size: int  # images in one run
    scratch: Path  # a folder for what servers leave behind
    image_ms: float = 100.0  # what an image takes in a run, about

    def __post_init__(self) -> None:
        manifest, variant = self.artifact.manifest, self.artifact.variant(OnnxRuntimeBackend.name)
        if manifest.c_dim or variant.inputs:
            raise BenchmarkError(f"peers take seeds only, and model {manifest.name!r} takes more; choose another model")


@dataclass(frozen=True)
class ServerSubject:
    """One way to serve."""

    name: str  # as it stands in results
    requirements: str | None  # the name of its file in `requirements/`; None for what is installed with nonesuch
    command: str  # its arguments after the interpreter; {port} and the fields of a `Setup` are filled in
    path: str  # that takes posts of {"seed": N} over HTTP; empty for nonesuch.v1 over gRPC
    form: str  # the form it is used in, for the record
    batches: bool = True  # whether it can render several requests in one run


class RunningSubject(ChildProcess):
    """A server; `with` starts and ends it. `detail` is package, runtime and settings in one line."""

    def __init__(self, subject: ServerSubject, setup: Setup, home: Home) -> None:
        """Installs it if need be. Raises BenchmarkError where it does not install."""
        pins = read_pins(subject.requirements) if subject.requirements else [f"nonesuch=={__version__}"]
        python = python_with(subject.requirements, pins, home) if subject.requirements else Path(sys.executable)
        self.path, self.port = subject.path, _free_port()
        manifest, model = setup.artifact.manifest, str(setup.artifact.folder.resolve())
        settings = {  # as `programs/renderer.py` reads them
            "artifact": model, "synthesis": setup.artifact.variant(OnnxRuntimeBackend.name).file,
            "z_dim": manifest.z_dim, "num_ws": manifest.num_ws, "psi": DEFAULT_PSI, "threads": setup.threads,
            "max_batch_size": setup.max_batch_size, "max_wait_ms": MAX_WAIT_MS, "port": self.port,
        }  # fmt: skip
        environment = {
            "NONESUCH_SUBJECT": json.dumps(settings),
            "PYTHONDONTWRITEBYTECODE": "1",  # the programs' folder may not be the user's to write
            "BENTOML_HOME": str(setup.scratch / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
        }
        arguments = [part.format(program=COMMAND[-1], **settings) for part in subject.command.split()]
        super().__init__(subject.name, [str(python), *arguments], environment, folder=PROGRAMS)
        what = f"{pins[0].replace('==', ' ')}, {OnnxRuntimeBackend().probe().detail}"
        batch = f"batches of at most {setup.max_batch_size}" if subject.batches else "no batches"
        self.detail = f"{what}, {setup.threads} threads, {batch}; {subject.form}"

    def pictures(self, seeds: range) -> list[bytes]:
        """The JPEGs of some seeds, one call after another. Raises BenchmarkError where one did not come."""

        async def ask_in_turn() -> list[bytes]:
            async with connect(self.port, self.path) as ask:
                return [(await ask(seed, DEADLINE_S)).data for seed in seeds]

        return asyncio.run(ask_in_turn())


@asynccontextmanager
async def connect(port: int, path: str = "") -> AsyncIterator[Ask]:
    """A new connection to a port of 127.0.0.1: by gRPC, or over HTTP where there is a path.

    Its `Ask` raises BenchmarkError where a picture does not come.
    """

    async def ask(seed: int, deadline_s: float) -> Answer:
        answer = await (post if path else call)(seed, deadline_s)
        if answer.code != OK:
            raise BenchmarkError(f"the server gave no picture: {answer.code}")
        return answer

    async def post(seed: int, deadline_s: float) -> Answer:
        try:
            answer = await web.post(f"http://127.0.0.1:{port}{path}", json={"seed": seed}, timeout=deadline_s)
        except httpx.HTTPError as error:
            return Answer(f"{type(error).__name__} {error}".strip())
        return Answer(OK, data=answer.content) if answer.is_success else Answer(f"HTTP {answer.status_code}")

    # No proxy stands between this machine and itself, and there is no TLS.
    limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)
    async with (
        AsyncClient(f"127.0.0.1:{port}", retries=False) as client,
        httpx.AsyncClient(limits=limits, trust_env=False, verify=False) as web,  # noqa: S501
    ):
        call = grpc_ask(client)
        yield ask


def _free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


_SERVE = "-c {program} serve --grpc 127.0.0.1:{port} --model {artifact} --backend onnxruntime --threads {threads} "
# The size of batches was measured once, for all servers.
_SERVE += "--batch {max_batch_size} --min-batch-gain 0 --log-level error"
_MOSEC = "serve_mosec.py --address 127.0.0.1 --port {port} --timeout 600000"
_BENTOML = "-m bentoml serve serve_bentoml:Faces --host 127.0.0.1 --port {port}"

SUBJECTS: tuple[ServerSubject, ...] = (
    ServerSubject(NONESUCH, None, _SERVE, "", "nonesuch serve, nonesuch.client over gRPC"),
    ServerSubject(BARE, "grpc", "serve_grpc.py", "", "a bare handler, nonesuch.client", batches=False),
    ServerSubject("litserve", "litserve", "serve_litserve.py", "/predict", "one LitAPI, one worker process, HTTP/1.1"),
    ServerSubject("mosec", "mosec", _MOSEC, "/inference", "a process that renders, a process that encodes, HTTP/1.1"),
    ServerSubject(
        "bentoml", "bentoml", _BENTOML, "/generate", "a service that renders, a service that encodes, HTTP/1.1"
    ),
)
"""`nonesuch serve` first: it is what the others are compared with."""
