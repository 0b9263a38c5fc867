from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest

from nonesuch.client import AsyncClient, Client, Keyframe, RequestError
from nonesuch.client.request import walk_request
from nonesuch.v1 import generation_service_pb2, image_pb2, synthesis_pb2

Serve = Callable[..., str]
Walk = Callable[[generation_service_pb2.WalkRequest, Any], Iterator[Any]]
WAIT_S = 20.0  # generous: a test that waits this long has failed


@pytest.fixture
def walk(image: image_pb2.Image) -> Walk:
    """Answers with as many frames as an open walk has."""

    def frames(request: generation_service_pb2.WalkRequest, context: Any) -> Iterator[Any]:
        for index in range((len(request.keyframes) - 1) * request.frames_per_step + 1):
            made = synthesis_pb2.Generation(psi=request.synthesis.psi)
            yield generation_service_pb2.WalkResponse(index=index, image=image, generation=made)

    return frames


def endless(image: image_pb2.Image, stopped: threading.Event) -> Walk:
    def frames(request: Any, context: Any) -> Iterator[Any]:
        context.add_callback(stopped.set)
        yield generation_service_pb2.WalkResponse(index=0, image=image)
        stopped.wait(WAIT_S)

    return frames


def test_a_walk_yields_its_frames_in_order(serve: Serve, walk: Walk) -> None:
    with Client(serve(Walk=walk)) as client:
        frames = list(client.walk([1, 2, 3], frames_per_step=2, psi=0.5))
    assert [(frame.index, frame.seed, frame.psi) for frame in frames] == [(index, None, 0.5) for index in range(5)]


async def test_an_async_walk_yields_its_frames_in_order(serve: Serve, walk: Walk) -> None:
    async with AsyncClient(serve(Walk=walk)) as client:
        keyframes = [Keyframe(seed=1), Keyframe(w=[0.5])]
        frames = [frame async for frame in client.walk(keyframes=keyframes, frames_per_step=3, psi=0.5)]
    assert [(frame.index, frame.seed, frame.psi) for frame in frames] == [(index, None, 0.5) for index in range(4)]


def test_closing_a_walk_early_cancels_it_on_the_server(serve: Serve, image: image_pb2.Image) -> None:
    stopped = threading.Event()
    with Client(serve(Walk=endless(image, stopped))) as client:
        frames = client.walk([1, 2], frames_per_step=9)
        assert next(frames).index == 0
        frames.close()
        assert stopped.wait(WAIT_S)


async def test_closing_an_async_walk_early_cancels_it_on_the_server(serve: Serve, image: image_pb2.Image) -> None:
    stopped = threading.Event()
    async with AsyncClient(serve(Walk=endless(image, stopped))) as client:
        async with aclosing(client.walk([1, 2], frames_per_step=9)) as frames:
            assert (await anext(frames)).index == 0
        assert await asyncio.to_thread(stopped.wait, WAIT_S)


async def test_a_bad_argument_of_a_walk_is_refused_before_iterating(silent_address: str) -> None:
    with Client(silent_address) as client, pytest.raises(RequestError, match="interpolation"):
        client.walk([1, 2], frames_per_step=1, interpolation="cubic")
    async with AsyncClient(silent_address) as aio:
        with pytest.raises(RequestError, match="frames_per_step"):
            aio.walk([1, 2], frames_per_step=0.5)  # type: ignore[arg-type]


def test_a_walk_has_its_fields() -> None:
    request = walk_request([4, 2], frames_per_step=7, psi=0.5, format="png", model="faces")
    assert [source.seed for source in request.keyframes] == [4, 2]
    assert (request.frames_per_step, request.closed, request.model) == (7, False, "faces")
    assert request.interpolation == generation_service_pb2.INTERPOLATION_LINEAR_W
    assert request.synthesis.psi == 0.5
    assert request.image.format == image_pb2.IMAGE_FORMAT_PNG
    keyframes = [Keyframe(seed=1), Keyframe(z=[0.5, 1.0]), Keyframe(w=np.ones(2))]
    request = walk_request(keyframes=keyframes, frames_per_step=1, interpolation="spherical-z", closed=True)
    origins = [source.WhichOneof("origin") for source in request.keyframes]
    assert origins == ["seed", "z", "w"]
    assert (request.interpolation, request.closed) == (generation_service_pb2.INTERPOLATION_SPHERICAL_Z, True)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"seeds": None}, "seeds"),
        ({"keyframes": [Keyframe(1), Keyframe(2)]}, "keyframes"),
        ({"seeds": None, "keyframes": [Keyframe(1), Keyframe()]}, "keyframes[1]"),
        ({"seeds": None, "keyframes": [Keyframe(1, z=[0.5])]}, "keyframes[0].z"),
        ({"seeds": None, "keyframes": [1, 2]}, "keyframes[0]"),
        ({"seeds": "12"}, "seeds"),
        ({"frames_per_step": 1.5}, "frames_per_step"),
        ({"frames_per_step": -1}, "frames_per_step"),
        ({"interpolation": "cubic"}, "interpolation"),
        ({"interpolation": None}, "interpolation"),
        ({"psi": "much"}, "psi"),
    ],
)
def test_a_walk_that_cannot_be_sent_is_refused_by_name(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        walk_request(**{"seeds": [1, 2], "frames_per_step": 3, **arguments})
    assert [violation.field for violation in caught.value.violations] == [field]


def test_a_walk_has_no_priority() -> None:
    with pytest.raises(TypeError, match="priority"):
        walk_request([1, 2], frames_per_step=1, priority="bulk")  # type: ignore[call-arg]
