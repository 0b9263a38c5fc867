"""What `nonesuch serve --check` does: a whole start on free ports, one image of each model, and the end."""

from __future__ import annotations

from collections.abc import AsyncIterator

from nonesuch.engine.errors import BackendError

from .grpc_server import GrpcServer
from .image_request import ImageRequest
from .open_model import OpenGenerator, open_generator
from .settings import ServerSettings

__all__ = ["self_check"]


async def self_check(settings: ServerSettings, open_model: OpenGenerator = open_generator) -> AsyncIterator[str]:
    """Check settings, models and certificates; a line for each model, which is loaded, warmed up and asked for seed 0.

    The server's own addresses are not touched, so a running one is not disturbed.

    Raises:
        NonesuchError: something of it does not work.
    """
    loopback = {"grpc": "127.0.0.1:0", "drain_delay_s": 0.0}
    for name in ("admin", "metrics"):
        if getattr(settings, name) is not None:
            loopback[name] = "127.0.0.1:0"
    server = GrpcServer(settings.model_copy(update=loopback), open_model)
    try:
        await server.start()
        for name in server.registry.names:
            model = await server.registry.load(name)
            # A conditional model needs a class; any will do.
            request = ImageRequest(name, seed=0)
            if model.manifest.c_dim:
                request = ImageRequest(name, seed=0, picture=type(request.picture)(class_index=0))
            made = await server.service.make(request)
            if not made.data:
                raise BackendError(f"model {name!r} gave an empty image")
            yield (
                f"{name}: {made.width}x{made.height}, {made.timing.inference_ms:.0f} ms an image, batches of "
                f"{model.batcher.limits.most}, {model.memory_mib:.0f} MiB ({model.generator.session.identity})"
            )
    finally:
        await server.stop(hurry=True)
