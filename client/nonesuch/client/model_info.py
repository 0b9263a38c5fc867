"""A model of a server, as ModelService describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nonesuch.v1 import model_service_pb2


@dataclass(frozen=True)
class Limits:
    """The limits of a server."""

    max_batch_size: int  # images in one batch
    max_images_per_stream: int
    queue_limit: int  # images that may wait


@dataclass(frozen=True)
class WsIndex:
    """One index of ws."""

    index: int
    resolution: int  # pixels at which it acts
    consumers: tuple[str, ...]  # the layers that read it; empty: no layer does


@dataclass(frozen=True)
class ModelInfo:
    """A loaded model."""

    name: str  # on this server
    model_id: str  # sha256 of its weights
    family: str  # the network family, such as "mobilestylegan"
    z_dim: int
    c_dim: int  # classes; 0: unconditional
    w_dim: int
    num_ws: int  # style inputs
    resolution: int  # side of its images in pixels
    channels: int
    ws_layout: tuple[WsIndex, ...]
    licence: str  # the licence of its weights
    build_id: str
    backend: str  # the runtime that renders it
    limits: Limits
    run_ms: Mapping[int, float]  # the current duration of a run, by batch size


def model_from_answer(model: model_service_pb2.Model) -> ModelInfo:
    """Read one model of an answer."""
    return ModelInfo(
        name=model.name,
        model_id=model.model_id,
        family=model.family,
        z_dim=model.z_dim,
        c_dim=model.c_dim,
        w_dim=model.w_dim,
        num_ws=model.num_ws,
        resolution=model.resolution,
        channels=model.channels,
        ws_layout=tuple(WsIndex(ws.index, ws.resolution, tuple(ws.consumers)) for ws in model.ws_layout),
        licence=model.licence,
        build_id=model.build_id,
        backend=model.backend,
        limits=Limits(
            max_batch_size=model.limits.max_batch_size,
            max_images_per_stream=model.limits.max_images_per_stream,
            queue_limit=model.limits.queue_limit,
        ),
        run_ms={time.batch_size: time.run_us / 1e3 for time in model.run_times},
    )
