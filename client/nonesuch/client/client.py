"""The client for threads."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped, unused-ignore]

from nonesuch.v1 import model_service_pb2
from nonesuch.v1.generation_service_pb2_grpc import GenerationServiceStub
from nonesuch.v1.model_service_pb2_grpc import ModelServiceStub

from .argument import Latent
from .channel import DEFAULT_DEADLINE_S, call_metadata, checked_deadline, open_channel, target_of
from .errors import ModelNotFoundError, client_error
from .model_info import ModelInfo, model_from_answer
from .options import GenerateOptions, WalkOptions
from .request import generate_request, stream_request, walk_request
from .result import GeneratedImage, image_from_answer
from .source import Keyframe

__all__ = ["Client"]


class Client:
    """Asks one server for images; may be shared by threads; `with` closes it.

        with Client("127.0.0.1:50051") as client:
            client.generate(seed=42, format="png").save("42.png")

    `address` is host:port, a gRPC target such as dns:///host:port or unix:path, or several IP addresses with ports, to
    which calls go in turn. Without `credentials` (see grpc.ssl_channel_credentials) the connection is in clear.
    `api_key` is for servers that want one.
    A call that meets a full queue or no server is tried up to four times within its deadline, unless `retries` is
    False.

    Latents are called as in the engine: z is [z_dim], w is [w_dim], before the layers are told apart, and ws is
    [num_ws, w_dim], a style for each layer; `model()` says the sizes. They are lists, numpy arrays or torch tensors.

    Every call takes `deadline_s`, seconds until it gives up, None for never, and `wait_for_ready`, which waits for a
    server that cannot be reached yet. Every call raises a ClientError: RequestError, ModelNotFoundError,
    OverloadedError, DeadlineError, UnavailableError, UnsupportedError or ServerError. Calling a closed client is a
    mistake of the program, which grpcio answers with a ValueError.
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
        self._channel = open_channel(self.address, credentials, retries=retries)
        self._generation = GenerationServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._models = ModelServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._health = health_pb2_grpc.HealthStub(self._channel)

    def generate(
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
        return image_from_answer(self._call(self._generation.Generate, request, deadline_s, wait_for_ready))

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
    ) -> Generator[GeneratedImage, None, None]:
        """Make one image for each of seeds, of zs [N, z_dim], of w [N, w_dim] or of ws [N, num_ws, w_dim].

        Exactly one of the four is given. Each image comes as soon as it is ready; `index` says which one it is.

        The call starts with the first image that is asked for. Closing the iterator cancels what is left; leaving a
        `for` early does so as soon as nothing refers to the iterator any more. There is no deadline unless one is
        given, because how long many images take is the caller's choice.

        Raises:
            ClientError: as the class says; RequestError for arguments already here, the others while iterating.
        """
        # Checked outside the generator, whose body does not run before its first image is asked for.
        request = stream_request(seeds, zs=zs, w=w, ws=ws, **options)
        return self._stream(self._generation.GenerateStream, request, checked_deadline(deadline_s), wait_for_ready)

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
    ) -> Generator[GeneratedImage, None, None]:
        """Walk from one of seeds or keyframes, two at the least, to the next, and yield the frames in order.

        `interpolation` is linear-w, straight lines in w, or spherical-z, great circles in z, which takes no w. There
        are (K - 1) * frames_per_step + 1 frames for K key frames; K * frames_per_step if `closed`, which returns to the
        first. The call starts, ends and is left as that of `stream`.

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
        return self._stream(self._generation.Walk, request, checked_deadline(deadline_s), wait_for_ready)

    def models(self, *, deadline_s: float | None = DEFAULT_DEADLINE_S, wait_for_ready: bool = False) -> list[ModelInfo]:
        """All models of the server, its default first.

        Raises:
            ClientError: as the class says.
        """
        request = model_service_pb2.ListModelsRequest()
        answer = self._call(self._models.ListModels, request, deadline_s, wait_for_ready)
        return [model_from_answer(model) for model in answer.models]

    def model(
        self, name: str = "", *, deadline_s: float | None = DEFAULT_DEADLINE_S, wait_for_ready: bool = False
    ) -> ModelInfo:
        """One model; without a name the server's default.

        Raises:
            ClientError: as the class says.
        """
        request = model_service_pb2.GetModelRequest(name=name)
        answer = self._call(self._models.GetModel, request, deadline_s, wait_for_ready)
        return model_from_answer(answer.model)

    def health(
        self, service: str = "", *, deadline_s: float | None = DEFAULT_DEADLINE_S, wait_for_ready: bool = False
    ) -> str:
        """SERVING, NOT_SERVING, or SERVICE_UNKNOWN, of one service or of the server as a whole.

        Raises:
            ClientError: as the class says.
        """
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            answer = self._call(self._health.Check, request, deadline_s, wait_for_ready)
        except ModelNotFoundError:  # what the health service does not know is a service, not a model
            return "SERVICE_UNKNOWN"
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    def close(self) -> None:
        """Cancel what runs and disconnect; a second time does nothing."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Any: grpcio's generated stubs have no types.
    def _call(self, method: Any, request: object, deadline_s: float | None, wait_for_ready: bool) -> Any:
        seconds = checked_deadline(deadline_s)
        try:
            return method(request, timeout=seconds, wait_for_ready=wait_for_ready, metadata=self._metadata)
        except grpc.RpcError as error:
            raise client_error(error, self.address) from error

    def _stream(
        self,
        method: Any,
        request: object,
        deadline_s: float | None,
        wait_for_ready: bool,
    ) -> Generator[GeneratedImage, None, None]:
        call = method(request, timeout=deadline_s, wait_for_ready=wait_for_ready, metadata=self._metadata)
        try:
            for answer in call:
                yield image_from_answer(answer)
        except grpc.RpcError as error:
            raise client_error(error, self.address) from error
        finally:
            call.cancel()
