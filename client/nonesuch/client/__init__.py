"""Asks a nonesuch server for images, from threads or from asyncio.

    from nonesuch.client import Client

    with Client("127.0.0.1:50051") as client:
        client.generate(seed=42).save("42.jpg")

It needs grpcio and protobuf, and nothing of the engine; Pillow and numpy only where an image is decoded.
"""

from .admin_client import AdminClient, ModelState
from .aio_client import AsyncClient
from .channel import DEFAULT_DEADLINE_S, tls_credentials
from .client import Client
from .errors import (
    AccessError,
    ClientError,
    DeadlineError,
    FieldViolation,
    ModelNotFoundError,
    OverloadedError,
    RequestError,
    ServerError,
    UnavailableError,
    UnsupportedError,
)
from .model_info import Limits, ModelInfo, WsIndex
from .options import GenerateOptions, Mixing, WalkOptions
from .result import GeneratedImage, Timing
from .source import Keyframe

__all__ = [
    "DEFAULT_DEADLINE_S",
    "AccessError",
    "AdminClient",
    "AsyncClient",
    "Client",
    "ClientError",
    "DeadlineError",
    "FieldViolation",
    "GenerateOptions",
    "GeneratedImage",
    "Keyframe",
    "Limits",
    "Mixing",
    "ModelInfo",
    "ModelNotFoundError",
    "ModelState",
    "OverloadedError",
    "RequestError",
    "ServerError",
    "Timing",
    "UnavailableError",
    "UnsupportedError",
    "WalkOptions",
    "WsIndex",
    "tls_credentials",
]
