"""Pins the types of the public API for mypy and pyright: a change here changes the public interface."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import nonesuch.client as client
import nonesuch.engine as engine


def test_the_engine(generator: engine.Generator) -> None:
    assert_type(generator.generate([1, 2], psi=0.5), NDArray[np.uint8])
    assert_type(generator.styles([1], mixing=[engine.StyleMix(2, engine.LayerGroup.COARSE)]), NDArray[np.float32])
    assert_type(generator.build_id, str)
    assert_type(generator.artifact, engine.Artifact)
    image = generator.generate(z=np.zeros((1, generator.manifest.z_dim)))[0]
    record = engine.ImageRecord("tiny", "0")
    assert_type(engine.encode_image(image, engine.EncodeOptions(), record), bytes)


def test_public_names_are_listed_before_they_are_imported() -> None:
    assert set(engine.__all__) <= set(dir(engine))


def types_of_the_client(threads: client.Client, loop: client.AsyncClient) -> None:
    """Checked by mypy only: a call would need a server."""
    assert_type(threads.generate(seed=1), client.GeneratedImage)
    assert_type(threads.generate(seed=1).numpy(), NDArray[np.uint8])
    assert_type(threads.stream([1, 2], format="png"), Generator[client.GeneratedImage, None, None])
    assert_type(threads.models(), list[client.ModelInfo])
    assert_type(threads.health(), str)
    assert_type(loop.stream(w=np.zeros((2, 512))), AsyncGenerator[client.GeneratedImage, None])
    assert_type(loop.walk([1, 2], frames_per_step=3), AsyncGenerator[client.GeneratedImage, None])


async def types_of_the_asyncio_client(loop: client.AsyncClient) -> None:
    """Checked by mypy only."""
    assert_type(await loop.generate(ws=np.zeros((18, 512))), client.GeneratedImage)
    assert_type(await loop.model(), client.ModelInfo)
