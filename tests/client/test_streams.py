from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from nonesuch.client import (
    Client,
    DeadlineError,
    RequestError,
    ServerError,
)
from nonesuch.v1 import generation_service_pb2, image_pb2, synthesis_pb2

Serve = Callable[..., str]
WAIT_S = 20.0  # generous: a test that waits this long has failed


def test_stream_yields_in_order_of_arrival(serve: Serve, image: image_pb2.Image) -> None:
    def stream(request: generation_service_pb2.GenerateStreamRequest, context: Any) -> Iterator[Any]:
        for index in (2, 0, 1):
            made = synthesis_pb2.Generation(seed=request.seed_range.first + index)
            yield generation_service_pb2.GenerateStreamResponse(index=index, image=image, generation=made)

    with Client(serve(GenerateStream=stream)) as client:
        images = list(client.stream(range(7, 10)))
    assert [(image.index, image.seed) for image in images] == [(2, 9), (0, 7), (1, 8)]


def test_a_stream_that_fails_gives_what_it_had(serve: Serve, image: image_pb2.Image) -> None:
    def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        yield generation_service_pb2.GenerateStreamResponse(index=0, image=image)
        context.abort(grpc.StatusCode.INTERNAL, "id 7f3a")

    with Client(serve(GenerateStream=stream)) as client:
        images = client.stream([1, 2])
        assert next(images).index == 0
        with pytest.raises(ServerError, match="7f3a"):
            next(images)


def endless(image: image_pb2.Image, stopped: threading.Event) -> Callable[..., Iterator[Any]]:
    def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        context.add_callback(stopped.set)
        yield generation_service_pb2.GenerateStreamResponse(index=0, image=image)
        stopped.wait(WAIT_S)

    return stream


def test_closing_a_stream_early_cancels_it_on_the_server(serve: Serve, image: image_pb2.Image) -> None:
    stopped = threading.Event()
    with Client(serve(GenerateStream=endless(image, stopped))) as client:
        images = client.stream(range(100))
        next(images)
        assert not stopped.is_set()
        images.close()
        assert stopped.wait(WAIT_S)


def test_leaving_a_loop_early_cancels_it_on_the_server(serve: Serve, image: image_pb2.Image) -> None:
    stopped = threading.Event()
    with Client(serve(GenerateStream=endless(image, stopped))) as client:
        for _ in client.stream(range(100)):
            break
        assert stopped.wait(WAIT_S)


def test_a_stream_meets_its_deadline(serve: Serve, image: image_pb2.Image) -> None:
    stopped = threading.Event()
    with (
        Client(serve(GenerateStream=endless(image, stopped))) as client,
        pytest.raises(DeadlineError),
    ):
        list(client.stream(range(100), deadline_s=0.5))


def test_a_bad_argument_of_a_stream_is_refused_before_iterating(silent_address: str) -> None:
    with Client(silent_address) as client, pytest.raises(RequestError, match="format"):
        client.stream([1], format="gif")
