from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped, unused-ignore]
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped, unused-ignore]

from nonesuch.client import (
    AsyncClient,
    Client,
    DeadlineError,
    ModelNotFoundError,
    OverloadedError,
    RequestError,
    ServerError,
    UnavailableError,
)
from nonesuch.v1 import generation_service_pb2, image_pb2, model_service_pb2, synthesis_pb2

Serve = Callable[..., str]
Refuse = Callable[..., None]
WAIT_S = 20.0  # generous: a test that waits this long has failed


def test_both_clients_have_the_same_methods() -> None:
    def public(kind: type) -> dict[str, list[str]]:
        functions = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(f).parameters) for name, f in functions if not name.startswith("_")}

    assert public(AsyncClient) == public(Client)


async def test_generate(serve: Serve, answer: generation_service_pb2.GenerateResponse) -> None:
    async with AsyncClient(serve(Generate=lambda request, context: answer)) as client:
        image = await client.generate(seed=42, format="raw")
    assert (image.seed, image.psi, image.timing.queue_ms) == (42, 0.7, 1.5)


async def test_many_calls_at_once(serve: Serve, answer: generation_service_pb2.GenerateResponse) -> None:
    async with AsyncClient(serve(Generate=lambda request, context: answer)) as client:
        images = await asyncio.gather(*(client.generate() for _ in range(8)))
    assert [image.seed for image in images] == [42] * 8


async def test_violations_are_parsed(serve: Serve, refuse: Refuse) -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="synthesis.psi", description="9 is not within [-2, 2]")

    def generate(request: Any, context: grpc.ServicerContext) -> None:
        refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "psi is wrong", bad)

    async with AsyncClient(serve(Generate=generate)) as client:
        with pytest.raises(RequestError) as caught:
            await client.generate(psi=9)
    assert caught.value.violations == (("synthesis.psi", "9 is not within [-2, 2]"),)


@pytest.mark.parametrize("retries", [True, False])
async def test_an_overloaded_server(
    serve: Serve, refuse: Refuse, answer: generation_service_pb2.GenerateResponse, retries: bool
) -> None:
    calls: list[Any] = []
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromMilliseconds(1250)

    def generate(request: Any, context: grpc.ServicerContext) -> Any:
        calls.append(request)
        if len(calls) <= 2:
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            refuse(context, code, "the queue is full", info, grpc_retry_pushback_ms="30")
        return answer

    async with AsyncClient(serve(Generate=generate), retries=retries) as client:
        if retries:
            assert (await client.generate()).seed == 42
        else:
            with pytest.raises(OverloadedError) as caught:
                await client.generate()
            assert caught.value.retry_after_s == 1.25
    assert len(calls) == (3 if retries else 1)


async def test_a_stalled_server_meets_the_deadline(serve: Serve) -> None:
    gone = threading.Event()

    def stall(request: Any, context: grpc.ServicerContext) -> Any:
        context.add_callback(gone.set)
        gone.wait(WAIT_S)
        return generation_service_pb2.GenerateResponse()

    async with AsyncClient(serve(Generate=stall)) as client:
        with pytest.raises(DeadlineError, match="deadline_s"):
            await client.generate(deadline_s=0.3)
        assert await asyncio.to_thread(gone.wait, WAIT_S)


async def test_cancelling_the_task_cancels_the_call(serve: Serve) -> None:
    arrived, gone = threading.Event(), threading.Event()

    def stall(request: Any, context: grpc.ServicerContext) -> Any:
        context.add_callback(gone.set)
        arrived.set()
        gone.wait(WAIT_S)
        return generation_service_pb2.GenerateResponse()

    async with AsyncClient(serve(Generate=stall)) as client:
        task = asyncio.create_task(client.generate())
        assert await asyncio.to_thread(arrived.wait, WAIT_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(gone.wait, WAIT_S)


async def test_where_nothing_listens_the_address_is_named(silent_address: str) -> None:
    async with AsyncClient(silent_address, retries=False) as client:
        with pytest.raises(UnavailableError, match=silent_address):
            await client.generate()


async def test_stream_yields_in_order_of_arrival(serve: Serve, image: image_pb2.Image) -> None:
    def stream(request: generation_service_pb2.GenerateStreamRequest, context: Any) -> Iterator[Any]:
        for index in (2, 0, 1):
            made = synthesis_pb2.Generation(seed=request.sources[index].seed)
            yield generation_service_pb2.GenerateStreamResponse(index=index, image=image, generation=made)

    async with AsyncClient(serve(GenerateStream=stream)) as client:
        images = [image async for image in client.stream([5, 3, 8])]
    assert [(image.index, image.seed) for image in images] == [(2, 8), (0, 5), (1, 3)]


async def test_a_stream_that_fails_gives_what_it_had(serve: Serve, image: image_pb2.Image) -> None:
    def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        yield generation_service_pb2.GenerateStreamResponse(index=0, image=image)
        context.abort(grpc.StatusCode.INTERNAL, "id 7f3a")

    async with AsyncClient(serve(GenerateStream=stream)) as client:
        images = client.stream([1, 2])
        assert (await anext(images)).index == 0
        with pytest.raises(ServerError, match="7f3a"):
            await anext(images)


async def test_closing_a_stream_early_cancels_it_on_the_server(serve: Serve, image: image_pb2.Image) -> None:
    stopped = threading.Event()

    def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        context.add_callback(stopped.set)
        yield generation_service_pb2.GenerateStreamResponse(index=0, image=image)
        stopped.wait(WAIT_S)

    async with AsyncClient(serve(GenerateStream=stream)) as client:
        async with aclosing(client.stream(range(100))) as images:
            async for _ in images:
                assert not stopped.is_set()
                break
        assert await asyncio.to_thread(stopped.wait, WAIT_S)


async def test_a_bad_argument_of_a_stream_is_refused_before_iterating(silent_address: str) -> None:
    async with AsyncClient(silent_address) as client:
        with pytest.raises(RequestError, match="seeds"):
            client.stream([])


async def test_models_and_health(serve: Serve, refuse: Refuse) -> None:
    model = model_service_pb2.Model(name="faces", resolution=1024)

    def get(request: model_service_pb2.GetModelRequest, context: grpc.ServicerContext) -> Any:
        if request.name:
            refuse(context, grpc.StatusCode.NOT_FOUND, "there is faces")
        return model_service_pb2.GetModelResponse(model=model)

    def check(request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> Any:
        if request.service:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    def list_models(request: Any, context: Any) -> model_service_pb2.ListModelsResponse:
        return model_service_pb2.ListModelsResponse(models=[model])

    async with AsyncClient(serve(GetModel=get, ListModels=list_models, Check=check)) as client:
        assert await client.models() == [await client.model()]
        with pytest.raises(ModelNotFoundError, match="there is faces"):
            await client.model("dogs")
        assert await client.health() == "SERVING"
        assert await client.health("unheard.of") == "SERVICE_UNKNOWN"
        await client.close()  # the second close, when the block ends, does nothing
