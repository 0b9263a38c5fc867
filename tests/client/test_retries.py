from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped, unused-ignore]

from nonesuch.client import (
    Client,
    OverloadedError,
)
from nonesuch.v1 import generation_service_pb2

Serve = Callable[..., str]
Refuse = Callable[..., None]


class Overloaded:
    """Refuses the first so many calls, then answers."""

    def __init__(self, refusals: int, answer: Any, refuse: Refuse) -> None:
        self.refusals, self.answer, self.refuse, self.calls = refusals, answer, refuse, 0
        self.info = error_details_pb2.RetryInfo()
        self.info.retry_delay.FromMilliseconds(1250)

    def generate(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.calls += 1
        if self.calls <= self.refusals:
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            self.refuse(context, code, "the queue is full", self.info, grpc_retry_pushback_ms="30")
        return self.answer

    def stream(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self.generate(request, context)
        yield generation_service_pb2.GenerateStreamResponse(index=0, image=self.answer.image)


def test_an_overloaded_server_is_asked_again(
    serve: Serve, refuse: Refuse, answer: generation_service_pb2.GenerateResponse
) -> None:
    server = Overloaded(2, answer, refuse)
    with Client(serve(Generate=server.generate)) as client:
        assert client.generate().seed == 42
    assert server.calls == 3


def test_a_stream_that_was_refused_is_asked_for_again(
    serve: Serve, refuse: Refuse, answer: generation_service_pb2.GenerateResponse
) -> None:
    server = Overloaded(2, answer, refuse)
    with Client(serve(GenerateStream=server.stream)) as client:
        assert [image.index for image in client.stream([1])] == [0]
    assert server.calls == 3


def test_it_is_asked_four_times_at_most(
    serve: Serve, refuse: Refuse, answer: generation_service_pb2.GenerateResponse
) -> None:
    server = Overloaded(1000, answer, refuse)
    with Client(serve(Generate=server.generate)) as client, pytest.raises(OverloadedError):
        client.generate()
    assert server.calls == 4


def test_a_server_that_forbids_another_try_is_obeyed(serve: Serve, refuse: Refuse) -> None:
    calls: list[Any] = []

    def generate(request: Any, context: grpc.ServicerContext) -> None:
        calls.append(request)
        # gRFC A6: a negative pushback means that the client must not try again.
        refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full", grpc_retry_pushback_ms="-1")

    with Client(serve(Generate=generate)) as client, pytest.raises(OverloadedError) as caught:
        client.generate()
    assert len(calls) == 1
    assert caught.value.retry_after_s is None


def test_without_retries_it_is_asked_once(
    serve: Serve, refuse: Refuse, answer: generation_service_pb2.GenerateResponse
) -> None:
    server = Overloaded(2, answer, refuse)
    with Client(serve(Generate=server.generate), retries=False) as client, pytest.raises(OverloadedError) as caught:
        client.generate()
    assert server.calls == 1
    assert caught.value.retry_after_s == 1.25
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "the queue is full" in str(caught.value)


def test_a_server_that_starts_late_is_asked_again(
    serve: Serve, answer: generation_service_pb2.GenerateResponse
) -> None:
    calls: list[Any] = []

    def generate(request: Any, context: grpc.ServicerContext) -> Any:
        calls.append(request)
        if len(calls) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "starting")
        return answer

    with Client(serve(Generate=generate)) as client:
        assert client.generate().seed == 42
