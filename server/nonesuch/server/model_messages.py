"""Models as the messages of nonesuch.v1 say them."""

from __future__ import annotations

from nonesuch.v1 import admin_service_pb2, model_service_pb2

from .loaded_model import LoadedModel
from .settings import ServerSettings

__all__ = ["model_message", "state_message"]

_MIB = 1 << 20


def model_message(model: LoadedModel, settings: ServerSettings) -> model_service_pb2.Model:
    """A loaded model."""
    manifest = model.manifest
    return model_service_pb2.Model(
        name=model.name,
        model_id=manifest.model_id,
        family=manifest.family,
        z_dim=manifest.z_dim,
        c_dim=manifest.c_dim,
        w_dim=manifest.w_dim,
        num_ws=manifest.num_ws,
        resolution=manifest.resolution,
        channels=manifest.channels,
        ws_layout=[
            model_service_pb2.WsIndex(index=e.index, resolution=e.resolution, consumers=e.consumers)
            for e in manifest.ws_layout
        ],
        licence=manifest.source.licence,
        build_id=model.build_id(),
        backend=model.generator.session.identity,
        limits=model_service_pb2.Limits(
            max_batch_size=settings.max_batch_size,
            max_images_per_stream=settings.max_images_per_stream,
            queue_limit=settings.queue_limit,
        ),
        run_times=[
            model_service_pb2.RunTime(batch_size=size, run_us=round(run_ms * 1e3))
            for size, run_ms in model.batcher.model.known.items()
        ],
    )


def state_message(name: str, model: LoadedModel | None, settings: ServerSettings) -> admin_service_pb2.ModelState:
    """A model of the configuration, as an operator sees it."""
    if model is None:
        return admin_service_pb2.ModelState(name=name)
    return admin_service_pb2.ModelState(
        name=name,
        loaded=True,
        in_use=model.in_use,
        memory_bytes=round(model.memory_mib * _MIB),
        waiting=model.batcher.waiting,
        model=model_message(model, settings),
    )
