"""A server in a separate process, on a test backend that sleeps; test_goodput.py runs it.

In the process of the load generator both would compete for one interpreter, which distorts the results.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.generator import Generator
from nonesuch.engine.session import SessionOptions
from nonesuch.server.observing.logs import configure_logs
from nonesuch.server.serve import serve
from nonesuch.server.server import Server
from nonesuch.server.settings import ModelSettings, ServerSettings

from ...conftest import PacedSession


def main(folder: str, image_ms: float, run_ms: float, settings: dict[str, object]) -> None:
    """Serve until SIGTERM; the address is the first line of standard output."""

    def open_model(model: ModelSettings, max_batch_size: int) -> Generator:
        artifact = Artifact.open(Path(model.model))
        session = PacedSession(artifact, SessionOptions(max_batch_size=max_batch_size), image_ms, run_ms)
        return Generator(artifact, session, "a paced test session")

    def on_ready(server: Server) -> None:
        print(server.address, flush=True)

    configure_logs(json=True, level="error")
    values = {"grpc": "127.0.0.1:0", "models": ({"model": folder},), "min_batch_gain": 0.0, "drain_delay_s": 0.0}
    asyncio.run(serve(ServerSettings(**(values | settings)), on_ready, open_model=open_model))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), json.loads(sys.argv[4]))
