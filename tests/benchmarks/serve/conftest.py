"""Real servers whose model stalls when a test wants it to: the tail that a load generator must not hide."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.onnxruntime import OnnxRuntimeSession
from nonesuch.engine.generator import Generator
from nonesuch.engine.session import Batch, SessionOptions
from nonesuch.server.server import Server
from nonesuch.server.settings import ServerSettings


class StallingSession(OnnxRuntimeSession):
    """The tiny model on ONNX Runtime; the run that makes image number `stall_at` sleeps for `stall_s` first."""

    stall_at = 0
    stall_s = 0.2
    image_s = 0.0
    """Added to every image."""

    images = 0

    def stall(self, after: int) -> None:
        """Stall once, when so many more images have been made."""
        self.images, self.stall_at = 0, after

    def _run(self, batch: Batch) -> NDArray[np.uint8]:
        self.images += len(batch)
        if self.stall_at and self.images >= self.stall_at:
            self.stall_at = 0
            time.sleep(self.stall_s)
        if self.image_s:
            time.sleep(self.image_s * len(batch))
        return super()._run(batch)


RunStalling = Callable[..., AbstractAsyncContextManager[tuple[str, StallingSession]]]


@pytest.fixture
def run_stalling(artifact: Artifact) -> RunStalling:
    """Starts servers: `async with run_stalling(queue_limit=1) as (address, session)`."""

    @asynccontextmanager
    async def run(max_batch_size: int = 8, **settings: object) -> AsyncIterator[tuple[str, StallingSession]]:
        options = SessionOptions(max_batch_size=max_batch_size, spinning=False)
        session = StallingSession(artifact, artifact.manifest.variants[0], options)
        values: dict[str, object] = {
            "grpc": "127.0.0.1:0",
            "models": ({"model": str(artifact.folder)},),
            "max_batch_size": max_batch_size,
            "min_batch_gain": 0.0,
            "drain_delay_s": 0.0,
            **settings,
        }
        generator = Generator(artifact, session, "a stalling test session")
        server = Server(ServerSettings(**values), lambda model, most: generator)
        await server.start()
        try:
            yield server.address, session
        finally:
            await server.stop()

    return run
