"""Keyword arguments -> the requests of GenerationService, for both clients.

An argument that cannot be sent is refused here, by its name; the server checks whether the values fit the model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from nonesuch.v1 import generation_service_pb2

from .argument import Latent, choice, uint32
from .options import WalkOptions, priority_number, set_options
from .source import Keyframe, row_sources, source_of

_INTERPOLATIONS = {
    "linear-w": generation_service_pb2.INTERPOLATION_LINEAR_W,
    "spherical-z": generation_service_pb2.INTERPOLATION_SPHERICAL_Z,
}


def generate_request(
    *,
    seed: int | None = None,
    z: Latent | None = None,
    w: Latent | None = None,
    ws: Iterable[Latent] | None = None,
    priority: str | None = None,
    **options: Unpack[WalkOptions],
) -> generation_service_pb2.GenerateRequest:
    """The request for one image, from at most one of seed, z [z_dim], w [w_dim] and ws [num_ws, w_dim].

    Raises:
        RequestError: an argument cannot be sent.
    """
    source = source_of(seed=seed, z=z, w=w, ws=ws)
    request = generation_service_pb2.GenerateRequest(source=source, priority=priority_number(priority))
    set_options(request, **options)
    return request


def stream_request(
    seeds: Iterable[int] | None = None,
    *,
    zs: Iterable[Latent] | None = None,
    w: Iterable[Latent] | None = None,
    ws: Iterable[Iterable[Latent]] | None = None,
    priority: str | None = None,
    **options: Unpack[WalkOptions],
) -> generation_service_pb2.GenerateStreamRequest:
    """The request for one image for each of seeds, of zs [N, z_dim], of w [N, w_dim] or of ws [N, num_ws, w_dim].

    Exactly one of the four is given. A range of seeds with step 1 is sent as two numbers.

    Raises:
        RequestError: an argument cannot be sent.
    """
    request = generation_service_pb2.GenerateStreamRequest(priority=priority_number(priority))
    if isinstance(seeds, range) and seeds.step == 1 and seeds and all(rows is None for rows in (zs, w, ws)):
        uint32(seeds[-1], "seeds")
        request.seed_range.first = uint32(seeds.start, "seeds")
        request.seed_range.count = uint32(len(seeds), "seeds")
    else:
        request.sources.extend(row_sources(seeds=seeds, zs=zs, w=w, ws=ws))
    set_options(request, **options)
    return request


def walk_request(
    seeds: Iterable[int] | None = None,
    *,
    keyframes: Iterable[Keyframe] | None = None,
    frames_per_step: int,
    interpolation: str = "linear-w",
    closed: bool = False,
    **options: Unpack[WalkOptions],
) -> generation_service_pb2.WalkRequest:
    """The request for a walk through the seeds or key frames.

    Raises:
        RequestError: an argument cannot be sent.
    """
    request = generation_service_pb2.WalkRequest(
        keyframes=row_sources(seeds=seeds, keyframes=keyframes),
        frames_per_step=uint32(frames_per_step, "frames_per_step"),
        interpolation=choice(interpolation, _INTERPOLATIONS, "interpolation"),
        closed=bool(closed),
    )
    set_options(request, **options)
    return request
