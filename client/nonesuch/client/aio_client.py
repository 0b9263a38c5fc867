"""The client for asyncio."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped, unused-ignore]

from nonesuch.v1 import model_service_pb2
from nonesuch.v1.generation_service_pb2_grpc import GenerationServiceStub
from nonesuch.v1.model_service_pb2_grpc import ModelServiceStub

from .argument import Latent
from .channel import DEFAULT_DEADLINE_S, call_metadata, check_deadline, open_aio_channel, target_of
from .errors import ModelNotFoundError, client_error
from .model_info import ModelInfo, model_from_answer
from .options import GenerateOptions, WalkOptions
from .request import generate_request, stream_request, walk_request
from .result import GeneratedImage, image_from_answer
from .source import Keyframe


class AsyncClient:
    """Asks one server for images, inside the event loop that it was made in; `async with` closes it.

        async with AsyncClient("127.0.0.1:50051") as client:
            (await client.generate(seed=42, format="png")).save("42.png")

    `address` is host:port, a gRPC target such as dns:///host:port or unix:path, or several IP addresses with ports, to
    which calls go in turn. Without `credentials` (see grpc.ssl_channel_credentials) the connection is not encrypted.
    `api_key` is for servers that require one.
    A call that meets a full queue or no server is tried up to four times within its deadline, unless `retries` is
    False.

    Latents are called as in the engine: z is [z_dim], w is [w_dim], one style for all layers, and ws is
    [num_ws, w_dim], a style for each layer; `model()` gives the sizes. They are lists, numpy arrays or torch tensors.

    Every call takes `deadline_s`, seconds until it gives up, None for never, and `wait_for_ready`, which waits for a
    server that cannot be reached yet. Every call raises a ClientError: RequestError, ModelNotFoundError,
    OverloadedError, DeadlineError, UnavailableError, UnsupportedError or ServerError. Calling a closed client is a
    programming error, for which grpcio raises a grpc.aio.UsageError.

    Cancelling the task that awaits a call cancels the call; closing the client raises CancelledError in the calls that
    it ends.
    """

    def __init__(
        self,
        address: str | Sequence[str],
        *,
        credentials: grpc.ChannelCredentials | None = None,
        api_key: str | None = None,
        retries: bool = True,
    ) -> None:
        self.address = target_of(address)
        self._metadata = call_metadata(api_key)
        self._channel = open_aio_channel(self.address, credentials, retries=retries)
        self._generation = GenerationServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._models = ModelServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)

    async def generate(
        self,
        *,
        seed: int | None = None,
        z: Latent | None = None,
        w: Latent | None = None,
        ws: Iterable[Latent] | None = None,
        deadline_s: float | None = DEFAULT_DEADLINE_S,
        wait_for_ready: bool = False,
        **options: Unpack[GenerateOptions],
    ) -> GeneratedImage:
        """Make one image from at most one of seed, z [z_dim], w [w_dim] and ws [num_ws, w_dim], a style for each layer.

        From none of them, the server draws a seed.

        Raises:
            ClientError: as the class says; RequestError also before any call.
        """
        request = generate_request(seed=seed, z=z, w=w, ws=ws, **options)
        return image_from_answer(await self._call(self._generation.Generate, request, deadline_s, wait_for_ready))

    def stream(
        self,
        seeds: Iterable[int] | None = None,
        *,
        zs: Iterable[Latent] | None = None,
        w: Iterable[Latent] | None = None,
        ws: Iterable[Iterable[Latent]] | None = None,
        deadline_s: float | None = None,
        wait_for_ready: bool = False,
        **options: Unpack[GenerateOptions],
    ) -> AsyncGenerator[GeneratedImage, None]:
        """Make one image for each of seeds, of zs [N, z_dim], of w [N, w_dim] or of ws [N, num_ws, w_dim].

        Exactly one of the four is given. Each image comes as soon as it is ready; `index` is its position.

        The call starts with the first image that is asked for. There is no deadline unless one is given, because the
        caller chooses how many images there are.
        `aclose()` on the iterator cancels the rest; use contextlib.aclosing where an `async for` may be left early.

        Raises:
            ClientError: as the class says; RequestError for arguments already here, the others while iterating.
        """
        # Checked outside the generator, whose body does not run before its first image is asked for.
        request = stream_request(seeds, zs=zs, w=w, ws=ws, **options)
        return self._stream(self._generation.GenerateStream, request, check_deadline(deadline_s), wait_for_ready)

    def walk(
        self,
        seeds: Iterable[int] | None = None,
        *,
        keyframes: Iterable[Keyframe] | None = None,
        frames_per_step: int,
        interpolation: str = "linear-w",
        closed: bool = False,
        deadline_s: float | None = None,
        wait_for_ready: bool = False,
        **options: Unpack[WalkOptions],
    ) -> AsyncGenerator[GeneratedImage, None]:
        """Walk from one of seeds or keyframes, at least two, to the next, and yield the frames in order.

        `interpolation` is linear-w, straight lines in w, or spherical-z, great circles in z, which takes no w. There
        are (K - 1) * frames_per_step + 1 frames for K key frames; K * frames_per_step if `closed`, which returns to the
        first. The call starts, ends and is cancelled as that of `stream`.

        Raises:
            ClientError: as `stream`.
        """
        request = walk_request(
            seeds,
            keyframes=keyframes,
            frames_per_step=frames_per_step,
            interpolation=interpolation,
            closed=closed,
            **options,
        )
        return self._stream(self._generation.Walk, request, check_deadline(deadline_s), wait_for_ready)

    async def models(
        self, *, deadline_s: float | None = DEFAULT_DEADLINE_S, wait_for_ready: bool = False
    ) -> list[ModelInfo]:
        """All models of the server, its default first.

        Raises:
            ClientError: as the class says.
        """
        request = model_service_pb2.ListModelsRequest()
        answer = await self._call(self._models.ListModels, request, deadline_s, wait_for_ready)
        return [model_from_answer(model) for model in answer.models]

    async def model(
        self, name: str = "", *, deadline_s: float | None = DEFAULT_DEADLINE_S, wait_for_ready: bool = False
    ) -> ModelInfo:
        """One model; without a name, the server's default.

        Raises:
            ClientError: as the class says.
        """
        request = model_service_pb2.GetModelRequest(name=name)
        answer = await self._call(self._models.GetModel, request, deadline_s, wait_for_ready)
        return model_from_answer(answer.model)

    async def health(
        self, service: str = "", *, deadline_s: float | None = DEFAULT_DEADLINE_S, wait_for_ready: bool = False
    ) -> str:
        """The health of one service, or of the whole server: SERVING, NOT_SERVING or SERVICE_UNKNOWN.

        Raises:
            ClientError: as the class says.
        """
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            answer = await self._call(self._health.Check, request, deadline_s, wait_for_ready)
        except ModelNotFoundError:  # the health service has no models: it does not know the service
            return "SERVICE_UNKNOWN"
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    async def close(self) -> None:
        """Cancel the running calls and disconnect; a second time does nothing."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Any: grpcio's generated stubs have no types.
    async def _call(self, method: Any, request: object, deadline_s: float | None, wait_for_ready: bool) -> Any:
        seconds = check_deadline(deadline_s)
        try:
            return await method(request, timeout=seconds, wait_for_ready=wait_for_ready, metadata=self._metadata)
        except grpc.RpcError as error:
            raise client_error(error, self.address) from error

    async def _stream(
        self,
        method: Any,
        request: object,
        deadline_s: float | None,
        wait_for_ready: bool,
    ) -> AsyncGenerator[GeneratedImage, None]:
        call = method(request, timeout=deadline_s, wait_for_ready=wait_for_ready, metadata=self._metadata)
        try:
            async for answer in call:
                yield image_from_answer(answer)
        except grpc.RpcError as error:
            raise client_error(error, self.address) from error
        finally:
            call.cancel()
