"""What `nonesuch serve --check` does: a whole start on free ports, one image of each model, and the end."""

from __future__ import annotations

from collections.abc import AsyncIterator

from nonesuch.engine.errors import BackendError
from nonesuch.engine.latent_pipeline import PictureOptions
from nonesuch.engine.source import Seeds

from .core.image_request import ImageRequest
from .core.open_model import OpenGenerator, open_generator
from .server import Server
from .settings import ServerSettings

__all__ = ["self_check"]

_ADDRESSES = ("grpc", "admin", "http", "metrics")


async def self_check(settings: ServerSettings, open_model: OpenGenerator = open_generator) -> AsyncIterator[str]:
    """Check settings, models and certificates; a line for each model, which is loaded, warmed up and asked for seed 0.

    The server's own addresses are not touched, so a running one is not disturbed.

    Raises:
        NonesuchError: something of it does not work.
    """
    free = {name: "127.0.0.1:0" for name in _ADDRESSES if getattr(settings, name) is not None}
    # Faces made ahead are for visitors, of whom there are none.
    changed = {**free, "drain_delay_s": 0.0, "http_ready_faces": 0}
    server = Server(settings.model_copy(update=changed), open_model)
    try:
        await server.start()
        for name in server.registry.names:
            model = await server.registry.load(name)
            # A conditional model needs a class; any will do.
            picture = PictureOptions(class_index=0 if model.manifest.c_dim else None)
            made = await server.service.make(ImageRequest(Seeds([0]), name, picture=picture))
            if not made.data:
                raise BackendError(f"model {name!r} gave an empty image")
            yield (
                f"{name}: {made.width}x{made.height}, {made.timing.inference_ms:.0f} ms an image, batches of "
                f"{model.batcher.limits.most}, {model.memory_mib:.0f} MiB ({model.generator.session.identity})"
            )
    finally:
        await server.stop(hurry=True)
