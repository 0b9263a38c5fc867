"""Sessions whose runs take as long as a test wants, on the real template: a real model is too quick to show it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.generator import Generator
from nonesuch.engine.session import Batch, Session, SessionOptions
from nonesuch.server.core.open_model import OpenGenerator
from nonesuch.server.settings import ModelSettings


class PacedSession(Session):
    """Labelled a test backend: each image is one grey level, taken from its styles; runs wait for `gate`.

    A run of n images takes `run_ms + n * image_ms`.
    """

    def __init__(self, artifact: Artifact, options: SessionOptions, image_ms: float = 0.0, run_ms: float = 0.0) -> None:
        super().__init__(artifact, artifact.manifest.variants[0], options)
        self.gate = threading.Event()
        self.gate.set()
        self.image_ms = image_ms
        self.run_ms = run_ms
        self.sizes: list[int] = []
        self.failing: Callable[[NDArray[np.float32]], bool] = lambda ws: False

    @property
    def identity(self) -> str:
        return "a paced test session"

    def _open(self) -> None:
        pass

    def _run(self, batch: Batch) -> NDArray[np.uint8]:
        self.gate.wait(30)
        time.sleep((self.run_ms + self.image_ms * len(batch.ws)) / 1e3)
        self.sizes.append(len(batch.ws))
        if self.failing(batch.ws):
            raise RuntimeError("asked to fail")
        side = self.artifact.manifest.resolution
        level = batch.ws[:, 0, 0].astype(np.uint8)
        return np.broadcast_to(level[:, None, None, None], (len(level), side, side, 3)).copy()

    def _close(self) -> None:
        pass


@pytest.fixture
def paced(artifact: Artifact) -> Callable[..., PacedSession]:
    """Makes open paced sessions."""

    def make(max_batch_size: int = 8, image_ms: float = 0.0, run_ms: float = 0.0) -> PacedSession:
        session = PacedSession(artifact, SessionOptions(max_batch_size=max_batch_size), image_ms, run_ms)
        session.open()
        return session

    return make


OpenPaced = Callable[..., tuple[OpenGenerator, list[PacedSession]]]


@pytest.fixture
def open_paced(artifact: Artifact) -> OpenPaced:
    """Makes what `run_server(open_model=...)` takes, and the list of the sessions that it opens.

    A w of one value in all places, psi 1, shows that grey level. `resolution` makes larger pictures of the same.
    """

    def make(
        image_ms: float = 0.0, run_ms: float = 0.0, resolution: int | None = None
    ) -> tuple[OpenGenerator, list[PacedSession]]:
        sessions: list[PacedSession] = []

        def open_model(model: ModelSettings, max_batch_size: int) -> Generator:
            found = Artifact.open(artifact.folder)
            if resolution is not None:
                found = Artifact(found.folder, msgspec.structs.replace(found.manifest, resolution=resolution))
            session = PacedSession(found, SessionOptions(max_batch_size=max_batch_size), image_ms, run_ms)
            sessions.append(session)
            return Generator(found, session, "a paced test session")

        return open_model, sessions

    return make
