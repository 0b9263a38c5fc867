"""The Open Inference Protocol v2 on top of `ImageService`, for tritonclient and the clients of KServe."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from nonesuch.engine import __version__
from nonesuch.engine.errors import ModelNotFoundError
from nonesuch.oip import open_inference_service_pb2 as pb
from nonesuch.oip import open_inference_service_pb2_grpc

from ..access.charging import charged, deadline_of
from ..access.rate_limiter import RateLimiter
from ..core.batching.request_queue import Priority
from ..core.image_request import MadeImage
from ..core.loaded_model import LoadedModel
from ..core.service import ImageService
from .request import ENCODED, IMAGE_FP32, InferJob, infer_job, input_shapes, output_shapes
from .tensors import OutputTensor, set_outputs

Context = grpc.aio.ServicerContext[Any, Any]


class OipServicer(open_inference_service_pb2_grpc.GRPCInferenceServiceServicer):
    """Makes images from tensors and returns tensors."""

    def __init__(self, service: ImageService, limiter: RateLimiter) -> None:
        self._service = service
        self._limiter = limiter

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:  # noqa: N802 - the protocol's name
        """Always live."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:  # noqa: N802 - the protocol's name
        """Whether all models with `load = "start"` are loaded."""
        return pb.ServerReadyResponse(ready=self._service.registry.ready)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:  # noqa: N802 - the protocol's name
        """Whether a model is loaded; an unknown model is not ready."""
        try:
            model = self._service.registry.peek(request.name)
        except ModelNotFoundError:
            model = None
        if model is None or self._service.registry.draining or model.batcher.lost is not None:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=request.version in {"", model.build_id()})

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Context) -> pb.ServerMetadataResponse:  # noqa: N802 - the protocol's name
        """The server's name and version."""
        return pb.ServerMetadataResponse(name="nonesuch", version=__version__)

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Context) -> pb.ModelMetadataResponse:  # noqa: N802 - the protocol's name
        """The model's tensors; its version is the build id."""
        tensor = pb.ModelMetadataResponse.TensorMetadata
        async with self._service.registry.use(request.name) as model:
            _check_version(model, request.version)
            return pb.ModelMetadataResponse(
                name=model.name,
                versions=[model.build_id()],
                platform=model.generator.session.identity,
                inputs=[tensor(name=n, datatype=t, shape=s) for n, (t, s) in input_shapes(model.manifest).items()],
                outputs=[tensor(name=n, datatype=t, shape=s) for n, (t, s) in output_shapes(model.manifest).items()],
            )

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:  # noqa: N802 - the protocol's name
        """Make one image for each row of the input."""
        deadline = deadline_of(context)
        async with self._service.registry.use(request.model_name) as model:
            _check_version(model, request.model_version)
            job = infer_job(request, model.manifest, self._service.settings.max_batch_size)
            bulk = job.requests[0].priority is Priority.BULK
            made: dict[int, MadeImage] = {}
            with charged(self._limiter, len(job.requests), bulk=bulk) as bill:
                async with aclosing(self._service.make_many(job.requests, deadline=deadline)) as images:
                    async for index, image in images:
                        made[index] = image
                        bill.made += 1
            response = pb.ModelInferResponse(model_name=model.name, model_version=model.build_id(), id=request.id)
            ordered = [made[index] for index in range(len(made))]
            # In a thread, because this copies megabytes, value by value for typed contents.
            await asyncio.get_running_loop().run_in_executor(None, partial(_fill, response, job, ordered))
            return response


def _check_version(model: LoadedModel, version: str) -> None:
    if version not in {"", model.build_id()}:
        raise ModelNotFoundError(
            f"model {model.name!r} has no version {version[:64]!r}; it has {model.build_id()}, or leave the version out"
        )


def _fill(response: pb.ModelInferResponse, job: InferJob, images: list[MadeImage]) -> None:
    tensors: dict[str, OutputTensor] = {}
    if job.outputs == (ENCODED,):
        tensors[ENCODED] = [image.data for image in images]
    else:
        first = images[0]
        shape = (len(images), first.height, first.width, first.channels)
        pixels: NDArray[np.uint8] = np.frombuffer(b"".join(image.data for image in images), np.uint8).reshape(shape)
        for name in job.outputs:
            tensors[name] = _signed(pixels) if name == IMAGE_FP32 else pixels
    set_outputs(response, tensors, raw=job.raw)


def _signed(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The inverse of trunc(127.5 x + 128), channels first, -1 to 1: each level as the middle of its interval."""
    return ((pixels.transpose(0, 3, 1, 2).astype(np.float32) - np.float32(127.5)) / np.float32(127.5)).astype(
        np.float32
    )
