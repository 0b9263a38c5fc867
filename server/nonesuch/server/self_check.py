"""`nonesuch serve --check`: start on free ports, make one image with each model, and stop."""

from __future__ import annotations

from collections.abc import AsyncIterator

from nonesuch.engine.errors import BackendError
from nonesuch.engine.latent_pipeline import PictureOptions
from nonesuch.engine.source import Seeds

from .core.image_request import ImageRequest
from .core.open_model import OpenGenerator, open_generator
from .server import Server
from .settings import ServerSettings

_ADDRESSES = ("grpc", "admin", "http", "metrics")


async def self_check(settings: ServerSettings, open_model: OpenGenerator = open_generator) -> AsyncIterator[str]:
    """Check settings, models and certificates; yield a line per model after it made the image of seed 0.

    The configured addresses are not used, so a running server is not disturbed.

    Raises:
        NonesuchError: a check failed.
    """
    free = {name: "127.0.0.1:0" for name in _ADDRESSES if getattr(settings, name) is not None}
    # The check has no visitors, so no faces are rendered ahead.
    changed = {**free, "drain_delay_s": 0.0, "http_ready_faces": 0}
    server = Server(settings.model_copy(update=changed), open_model)
    try:
        await server.start()
        for name in server.registry.names:
            model = await server.registry.load(name)
            # A conditional model needs any class.
            picture = PictureOptions(class_index=0 if model.manifest.c_dim else None)
            made = await server.service.make(ImageRequest(Seeds([0]), name, picture=picture))
            if not made.data:
                raise BackendError(f"model {name!r} gave an empty image")
            yield (
                f"{name}: {made.width}x{made.height}, {made.timing.inference_ms:.0f} ms an image, batches of "
                f"{model.batcher.limits.most}, {model.memory_mib:.0f} MiB ({model.generator.session.identity})"
            )
    finally:
        await server.stop(force=True)
