"""A server on a loopback port whose every method is a function of the test."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import status_pb2  # type: ignore[import-untyped, unused-ignore]
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped, unused-ignore]

from nonesuch.v1 import generation_service_pb2, image_pb2, model_service_pb2, synthesis_pb2

Serve = Callable[..., str]
"""serve(Generate=function, ...) -> address; the function takes the request and the context."""

_GENERATION, _MODELS = "nonesuch.v1.GenerationService", "nonesuch.v1.ModelService"
_METHODS: dict[str, tuple[str, Any, Any, Any]] = {
    "Generate": (
        _GENERATION,
        grpc.unary_unary_rpc_method_handler,
        generation_service_pb2.GenerateRequest,
        generation_service_pb2.GenerateResponse,
    ),
    "GenerateStream": (
        _GENERATION,
        grpc.unary_stream_rpc_method_handler,
        generation_service_pb2.GenerateStreamRequest,
        generation_service_pb2.GenerateStreamResponse,
    ),
    "Walk": (
        _GENERATION,
        grpc.unary_stream_rpc_method_handler,
        generation_service_pb2.WalkRequest,
        generation_service_pb2.WalkResponse,
    ),
    "ListModels": (
        _MODELS,
        grpc.unary_unary_rpc_method_handler,
        model_service_pb2.ListModelsRequest,
        model_service_pb2.ListModelsResponse,
    ),
    "GetModel": (
        _MODELS,
        grpc.unary_unary_rpc_method_handler,
        model_service_pb2.GetModelRequest,
        model_service_pb2.GetModelResponse,
    ),
    "Check": (
        "grpc.health.v1.Health",
        grpc.unary_unary_rpc_method_handler,
        health_pb2.HealthCheckRequest,
        health_pb2.HealthCheckResponse,
    ),
}


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[grpc.Server] = []

    def start(**functions: Callable[[Any, grpc.ServicerContext], Any]) -> str:
        server = grpc.server(ThreadPoolExecutor(4))
        for name, function in functions.items():
            service, kind, request, response = _METHODS[name]
            handler = kind(
                function, request_deserializer=request.FromString, response_serializer=response.SerializeToString
            )
            server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {name: handler})])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(0).wait(10)


@pytest.fixture
def silent_address() -> Iterator[str]:
    """An address where nothing listens: the port is taken, so that no other server can get it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def image() -> image_pb2.Image:
    """2 x 3 pixels, each with values of its own."""
    pixels = bytes(range(18))
    return image_pb2.Image(data=pixels, format=image_pb2.IMAGE_FORMAT_RAW, width=3, height=2, channels=3)


@pytest.fixture
def generation() -> synthesis_pb2.Generation:
    return synthesis_pb2.Generation(
        model="faces",
        model_id="ab12",
        build_id="cd34",
        seed=42,
        psi=0.7,
        timing=synthesis_pb2.Timing(queue_us=1500, inference_us=20250, encode_us=3000, total_us=24750),
        batch=synthesis_pb2.Batch(size=3, padded_size=4),
        cached=True,
    )


@pytest.fixture
def answer(image: image_pb2.Image, generation: synthesis_pb2.Generation) -> generation_service_pb2.GenerateResponse:
    return generation_service_pb2.GenerateResponse(image=image, generation=generation)


Refuse = Callable[..., None]
"""refuse(context, code, details, *messages, **metadata): abort with google.rpc details."""


@pytest.fixture
def refuse() -> Refuse:
    def abort(context: grpc.ServicerContext, code: grpc.StatusCode, details: str, *messages: Any, **more: str) -> None:
        status = status_pb2.Status(code=code.value[0], message=details)
        for message in messages:
            packed = any_pb2.Any()
            packed.Pack(message)
            status.details.append(packed)
        plain = [(key.replace("_", "-"), value) for key, value in more.items()]
        context.set_trailing_metadata((*plain, ("grpc-status-details-bin", status.SerializeToString())))
        context.abort(code, details)

    return abort
