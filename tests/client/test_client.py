from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped, unused-ignore]

from nonesuch.client import (
    Client,
    Limits,
    ModelNotFoundError,
    RequestError,
    Timing,
    UnavailableError,
    WsIndex,
)
from nonesuch.v1 import generation_service_pb2, model_service_pb2

Serve = Callable[..., str]
Refuse = Callable[..., None]
WAIT_S = 20.0  # generous: a test that waits this long has failed


def test_generate_says_what_the_server_said(serve: Serve, answer: generation_service_pb2.GenerateResponse) -> None:
    requests: list[generation_service_pb2.GenerateRequest] = []

    def generate(request: generation_service_pb2.GenerateRequest, context: grpc.ServicerContext) -> Any:
        requests.append(request)
        return answer

    with Client(serve(Generate=generate)) as client:
        image = client.generate(seed=42, format="raw", psi=0.7)
    assert requests[0].source.seed == 42
    assert (image.data, image.format) == (bytes(range(18)), "raw")
    assert (image.width, image.height, image.channels) == (3, 2, 3)
    assert (image.model, image.model_id, image.build_id) == ("faces", "ab12", "cd34")
    assert (image.seed, image.psi, image.cached, image.index) == (42, 0.7, True, 0)
    assert image.timing == Timing(queue_ms=1.5, inference_ms=20.25, encode_ms=3.0, total_ms=24.75)
    assert (image.batch_size, image.padded_batch_size) == (3, 4)


def test_an_image_from_a_latent_has_no_seed(serve: Serve, answer: generation_service_pb2.GenerateResponse) -> None:
    answer.generation.ClearField("seed")
    with Client(serve(Generate=lambda request, context: answer)) as client:
        assert client.generate(w=[0.5]).seed is None


def test_an_answer_larger_than_grpcs_default_arrives(
    serve: Serve, answer: generation_service_pb2.GenerateResponse
) -> None:
    answer.image.data = bytes(8 * 1024 * 1024)
    with Client(serve(Generate=lambda request, context: answer)) as client:
        assert len(client.generate().data) == 8 * 1024 * 1024


def test_models(serve: Serve, refuse: Refuse) -> None:
    model = model_service_pb2.Model(
        name="faces",
        model_id="ab12",
        family="mobilestylegan",
        z_dim=512,
        w_dim=512,
        num_ws=23,
        resolution=1024,
        channels=3,
        licence="Apache-2.0",
        build_id="cd34",
        backend="onnxruntime",
        limits=model_service_pb2.Limits(max_batch_size=8, max_images_per_stream=1000, queue_limit=64),
    )
    model.ws_layout.add(index=0, resolution=4, consumers=["conv1", "to_rgb"])

    def get(request: model_service_pb2.GetModelRequest, context: grpc.ServicerContext) -> Any:
        if request.name not in {"", "faces"}:
            refuse(context, grpc.StatusCode.NOT_FOUND, f"no model {request.name!r}; there is faces")
        return model_service_pb2.GetModelResponse(model=model)

    def list_models(request: Any, context: Any) -> model_service_pb2.ListModelsResponse:
        return model_service_pb2.ListModelsResponse(models=[model, model_service_pb2.Model(name="cats")])

    with Client(serve(GetModel=get, ListModels=list_models)) as client:
        faces, cats = client.models()
        assert client.model() == client.model("faces") == faces
        with pytest.raises(ModelNotFoundError, match="there is faces"):
            client.model("dogs")
    assert cats.name == "cats"
    assert (faces.z_dim, faces.c_dim, faces.w_dim, faces.num_ws) == (512, 0, 512, 23)
    assert (faces.family, faces.licence, faces.backend) == ("mobilestylegan", "Apache-2.0", "onnxruntime")
    assert (faces.resolution, faces.channels, faces.model_id, faces.build_id) == (1024, 3, "ab12", "cd34")
    assert faces.ws_layout == (WsIndex(index=0, resolution=4, consumers=("conv1", "to_rgb")),)
    assert faces.limits == Limits(max_batch_size=8, max_images_per_stream=1000, queue_limit=64)


def check_health(request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> Any:
    kinds = health_pb2.HealthCheckResponse
    if request.service == "unheard.of":
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return kinds(status=kinds.NOT_SERVING if request.service else kinds.SERVING)


def test_health(serve: Serve) -> None:
    with Client(serve(Check=check_health)) as client:
        assert client.health() == "SERVING"
        assert client.health("nonesuch.v1.GenerationService") == "NOT_SERVING"
        assert client.health("unheard.of") == "SERVICE_UNKNOWN"


def test_threads_share_a_client(serve: Serve, answer: generation_service_pb2.GenerateResponse) -> None:
    seeds: list[int | None] = []
    with Client(serve(Generate=lambda request, context: answer)) as client:
        threads = [threading.Thread(target=lambda: seeds.append(client.generate().seed)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
    assert seeds == [42] * 4


def test_closing_twice_is_not_an_error(silent_address: str) -> None:
    client = Client(silent_address)
    client.close()
    client.close()


def test_a_target_uri_is_an_address(serve: Serve, answer: generation_service_pb2.GenerateResponse) -> None:
    with Client(f"ipv4:{serve(Generate=lambda request, context: answer)}") as client:
        assert client.generate().seed == 42


@pytest.mark.parametrize("address", ["http://127.0.0.1:50051", "localhost", ""])
def test_a_text_that_is_not_an_address_is_refused(address: str) -> None:
    with pytest.raises(RequestError, match="host:port"):
        Client(address)


def test_credentials_make_the_channel_secure(serve: Serve, answer: generation_service_pb2.GenerateResponse) -> None:
    # The server speaks clear text, so a client that insists on TLS must not get an answer.
    address = serve(Generate=lambda request, context: answer)
    credentials = grpc.ssl_channel_credentials()
    with Client(address, credentials=credentials, retries=False) as client, pytest.raises(UnavailableError):
        client.generate(deadline_s=WAIT_S)
