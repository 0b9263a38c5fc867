"""Fixtures of all tests: a tiny random model, the default model if it can be downloaded, and real servers."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import structlog

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.errors import DownloadError
from nonesuch.engine.generator import Generator
from nonesuch.engine.home import Home
from nonesuch.engine.manifest import WeightsSource
from nonesuch.engine.session import SessionOptions
from nonesuch.export.catalogue import find_entry
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.export_job import ExportJob, export_named
from nonesuch.export.exporter import export_checkpoint
from nonesuch.server.core.open_model import OpenGenerator
from nonesuch.server.server import Server
from nonesuch.server.settings import ModelSettings, ServerSettings

REPOSITORY = Path(__file__).parent.parent
TINY_SOURCE = WeightsSource(name="random numbers", licence="none needed", sha256="0" * 64)


def tiny_checkpoint(seed: int = 0) -> Checkpoint:
    """A MobileStyleGAN of 32x32 with random weights, noise and biases that all affect the picture."""
    random = np.random.RandomState(seed)
    channels, z_dim, w_dim = [16, 8, 4], 10, 12
    size = 4
    tensors: dict[str, np.ndarray] = {}

    def normal(name: str, *shape: int, scale: float = 1.0) -> None:
        tensors[name] = (random.randn(*shape) * scale).astype(np.float32)

    def affine(name: str, count: int, mean: float) -> None:
        normal(f"{name}.affine.weight", count, w_dim, scale=0.2 / w_dim**0.5)
        tensors[f"{name}.affine.bias"] = (mean + 0.1 * random.randn(count)).astype(np.float32)

    for index, fan_in in enumerate([z_dim, w_dim]):
        normal(f"mapping.fc{index}.weight", w_dim, fan_in, scale=fan_in**-0.5)
        normal(f"mapping.fc{index}.bias", w_dim, scale=0.1)
    normal("synthesis.input", 1, channels[0], size, size)
    affine("synthesis.conv1", channels[0], 1.0)
    normal("synthesis.conv1.weight", channels[0], channels[0], 3, 3, scale=(9 * channels[0]) ** -0.5)
    normal("synthesis.conv1.noise", size, size, scale=0.1)
    normal("synthesis.conv1.bias", channels[0], scale=0.1)
    for block, (wide, out) in enumerate(itertools.pairwise(channels)):
        size *= 2
        affine(f"synthesis.blocks.{block}.up", wide, 1.5)
        for name, inputs in (("conv1", wide // 4), ("conv2", out)):
            scope = f"synthesis.blocks.{block}.{name}"
            affine(scope, inputs, 1.0)
            normal(f"{scope}.depthwise", inputs, 1, 3, 3, scale=0.5)
            normal(f"{scope}.pointwise", out, inputs, 1, 1, scale=inputs**-0.5)
            normal(f"{scope}.noise", size, size, scale=0.1)
            normal(f"{scope}.bias", out, scale=0.1)
    affine("synthesis.to_img", channels[-1], 1.0)
    normal("synthesis.to_img.weight", 12, channels[-1], 1, 1, scale=0.25)
    normal("synthesis.to_img.bias", 12, scale=0.1)
    config = {
        "family": "mobilestylegan",
        "z_dim": z_dim,
        "w_dim": w_dim,
        "mapping_layers": 2,
        "channels": channels,
        "resolution": 32,
        "img_channels": 3,
    }
    return Checkpoint(config=config, tensors=tensors)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests away from the user's home."""
    monkeypatch.setenv("NONESUCH_HOME", str(tmp_path_factory.getbasetemp() / "home"))


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """Reset the log settings of a command after each test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    """The tiny random model's weights."""
    return tiny_checkpoint()


@pytest.fixture(scope="session")
def artifact(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The tiny random model, exported."""
    return export_checkpoint(checkpoint, tmp_path_factory.mktemp("tiny") / "tiny", name="tiny", source=TINY_SOURCE)


@pytest.fixture
def generator(artifact: Artifact) -> Iterator[Generator]:
    """The tiny random model, loaded."""
    with Generator.open(artifact.folder, options=SessionOptions(max_batch_size=8)) as generator:
        yield generator


@pytest.fixture(scope="session")
def faces_home() -> Home:
    """A home with the default model's file; kept in the checkout's cache, so that it is downloaded once."""
    home = Home(Path(os.environ.get("NONESUCH_TEST_HOME", REPOSITORY / ".cache" / "home")))
    try:
        find_entry("faces").file.fetch(home)
    except DownloadError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the default model cannot be downloaded: {error.message}")
    return home


@pytest.fixture(scope="session")
def faces(faces_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The default model, exported by the code under test."""
    return export_named(find_entry("faces"), faces_home, ExportJob(out=tmp_path_factory.mktemp("faces") / "faces"))


RunServer = Callable[..., AbstractAsyncContextManager[Server]]


@pytest.fixture
def run_server(artifact: Artifact) -> RunServer:
    """Starts real servers on free loopback ports: `async with run_server(queue_limit=1) as server`.

    `model` is an artifact, `session` its options, `open_model` replaces its loader; the rest are settings.
    """

    @asynccontextmanager
    async def run(
        model: Artifact = artifact,
        session: SessionOptions | None = None,
        open_model: OpenGenerator | None = None,
        **settings: object,
    ) -> AsyncIterator[Server]:
        options = session or SessionOptions(max_batch_size=8, spinning=False)

        def open_generator(asked: ModelSettings, max_batch_size: int) -> Generator:
            return Generator.open(asked.model, options=replace(options, max_batch_size=max_batch_size))

        # min_batch_gain 0: batches form even if this machine gains nothing by them.
        values: dict[str, object] = {
            "grpc": "127.0.0.1:0",
            "models": ({"model": str(model.folder)},),
            "min_batch_gain": 0.0,
            "max_batch_size": options.max_batch_size,
            "drain_delay_s": 0.0,
            **settings,
        }
        server = Server(ServerSettings(**values), open_model or open_generator)
        await server.start()
        try:
            yield server
        finally:
            await server.stop()

    return run
