"""Converts the requests of nonesuch.v1 to those of the core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.encoder import EncodeOptions, ImageFormat
from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.latent_pipeline import MAX_MIXES, PictureOptions
from nonesuch.engine.source import Seeds, Source, W, Z
from nonesuch.engine.style_mix import LayerGroup, StyleMix
from nonesuch.engine.walk import Interpolation, Walk
from nonesuch.v1 import generation_service_pb2, image_pb2, synthesis_pb2

from ..core.batching.request_queue import Priority
from ..core.image_request import ImageRequest, fresh_seed

_FORMATS = {
    image_pb2.IMAGE_FORMAT_UNSPECIFIED: ImageFormat.JPEG,
    image_pb2.IMAGE_FORMAT_JPEG: ImageFormat.JPEG,
    image_pb2.IMAGE_FORMAT_PNG: ImageFormat.PNG,
    image_pb2.IMAGE_FORMAT_WEBP: ImageFormat.WEBP,
    image_pb2.IMAGE_FORMAT_RAW: ImageFormat.RAW,
    image_pb2.IMAGE_FORMAT_NPY: ImageFormat.NPY,
}
_NOISE_MODES = {
    synthesis_pb2.NOISE_MODE_UNSPECIFIED: None,
    synthesis_pb2.NOISE_MODE_CONST: "const",
    synthesis_pb2.NOISE_MODE_NONE: "none",
    synthesis_pb2.NOISE_MODE_RANDOM: "random",
}
_LAYER_GROUPS = {
    synthesis_pb2.LAYER_GROUP_COARSE: LayerGroup.COARSE,
    synthesis_pb2.LAYER_GROUP_MIDDLE: LayerGroup.MIDDLE,
    synthesis_pb2.LAYER_GROUP_FINE: LayerGroup.FINE,
}
_INTERPOLATIONS = {
    generation_service_pb2.INTERPOLATION_UNSPECIFIED: Interpolation.LINEAR_W,
    generation_service_pb2.INTERPOLATION_LINEAR_W: Interpolation.LINEAR_W,
    generation_service_pb2.INTERPOLATION_SPHERICAL_Z: Interpolation.SPHERICAL_Z,
}
_PRIORITIES = {
    synthesis_pb2.PRIORITY_INTERACTIVE: Priority.INTERACTIVE,
    synthesis_pb2.PRIORITY_BULK: Priority.BULK,
}


def one_request(message: generation_service_pb2.GenerateRequest) -> ImageRequest:
    """The request of a unary call; without a source it gets a random seed.

    Raises:
        InvalidRequestError: a value is invalid for every model.
    """
    priority = _priority(message.priority, Priority.INTERACTIVE)
    source = _source(message.source)
    return _request(message.model, source, message.synthesis, _encode_options(message.image), priority)


def stream_requests(message: generation_service_pb2.GenerateStreamRequest, max_images: int) -> list[ImageRequest]:
    """The requests of a stream, at most `max_images`.

    Raises:
        InvalidRequestError: not exactly one of sources and seed_range, too many images, or as `one_request`.
    """
    encode = _encode_options(message.image)
    sources: Sequence[synthesis_pb2.Source] = message.sources
    if message.HasField("seed_range"):
        if sources:
            raise InvalidRequestError.of("seed_range", "is given together with sources; give one of them")
        first, count = message.seed_range.first, message.seed_range.count
        if not 1 <= count <= max_images or first + count > 1 << 32:
            raise InvalidRequestError.of(
                "seed_range", f"{count} seeds from {first}; a stream has 1 to {max_images}, up to seed {(1 << 32) - 1}"
            )
        sources = [synthesis_pb2.Source(seed=seed) for seed in range(first, first + count)]
    elif not 1 <= len(sources) <= max_images:
        raise InvalidRequestError.of("sources", f"{len(sources)} images; a stream has 1 to {max_images}")
    priority = _priority(message.priority, Priority.BULK if len(sources) > 1 else Priority.INTERACTIVE)
    common = _request(message.model, _source(sources[0]), message.synthesis, encode, priority)
    return [common, *(replace(common, source=_source(source)) for source in sources[1:])]


def walk_request(message: generation_service_pb2.WalkRequest, max_images: int) -> tuple[Walk, ImageRequest]:
    """The path of a walk, and the request that its frames share.

    Raises:
        InvalidRequestError: a key frame without a source, too many frames, or as `one_request`.
    """
    if message.interpolation not in _INTERPOLATIONS:
        known = ", ".join(generation_service_pb2.Interpolation.Name(number) for number in _INTERPOLATIONS)
        raise InvalidRequestError.of("interpolation", f"{message.interpolation} is unknown; there are {known}")
    keyframes = [_keyframe(source) for source in message.keyframes]
    walk = Walk(keyframes, message.frames_per_step, _INTERPOLATIONS[message.interpolation], message.closed)
    count = walk.frame_count
    if count > max_images:
        raise InvalidRequestError.of("frames_per_step", f"{count} frames in all; a stream has 1 to {max_images}")
    encode = _encode_options(message.image)
    # The latent of each frame replaces the source.
    return walk, _request(message.model, keyframes[0], message.synthesis, encode, Priority.BULK)


def _request(
    model: str, source: Source, synthesis: synthesis_pb2.SynthesisOptions, encode: EncodeOptions, priority: Priority
) -> ImageRequest:
    noise_mode = _noise_mode(synthesis.noise_mode)
    return ImageRequest(source, model, noise_mode, _picture(synthesis), encode, priority)


def _source(source: synthesis_pb2.Source) -> Source:
    return _given_source(source) or Seeds([fresh_seed()])


def _given_source(source: synthesis_pb2.Source) -> Source | None:
    match source.WhichOneof("origin"):
        case "seed":
            return Seeds([source.seed])
        case "z":
            return Z(_row(source.z))
        case "w":
            return W(_row(source.w), any_layers=True)
    return None


def _row(latent: synthesis_pb2.Latent) -> NDArray[np.float32]:
    return np.asarray(latent.values, dtype=np.float32)[None]


def _keyframe(source: synthesis_pb2.Source) -> Source:
    keyframe = _given_source(source)
    if keyframe is None:
        raise InvalidRequestError.of("keyframes", "each key frame is exactly one of seed, z and w")
    return keyframe


def _picture(synthesis: synthesis_pb2.SynthesisOptions) -> PictureOptions:
    if len(synthesis.mixing) > MAX_MIXES:
        raise InvalidRequestError.of("mixing", f"{len(synthesis.mixing)} mixes; a picture takes at most {MAX_MIXES}")
    move = synthesis.transform if synthesis.HasField("transform") else None
    return PictureOptions(
        psi=synthesis.psi if synthesis.HasField("psi") else None,
        cutoff=synthesis.cutoff if synthesis.HasField("cutoff") else None,
        class_index=synthesis.class_index if synthesis.HasField("class_index") else None,
        mixing=tuple(_mix(mixing) for mixing in synthesis.mixing),
        translate=(move.translate_x, move.translate_y) if move else None,
        rotate_degrees=move.rotate_degrees if move else None,
    )


def _noise_mode(mode: synthesis_pb2.NoiseMode) -> str | None:
    if mode not in _NOISE_MODES:
        known = ", ".join(synthesis_pb2.NoiseMode.Name(number) for number in _NOISE_MODES)
        raise InvalidRequestError.of("noise_mode", f"{mode} is unknown; there are {known}")
    return _NOISE_MODES[mode]


def _mix(mixing: synthesis_pb2.Mixing) -> StyleMix:
    if bool(mixing.layers) == bool(mixing.group):
        raise InvalidRequestError.of("mixing.layers", "give either layers or a group")
    if mixing.group not in {synthesis_pb2.LAYER_GROUP_UNSPECIFIED, *_LAYER_GROUPS}:
        known = ", ".join(synthesis_pb2.LayerGroup.Name(number) for number in _LAYER_GROUPS)
        raise InvalidRequestError.of("mixing.group", f"{mixing.group} is unknown; there are {known}")
    source = _given_source(mixing.source)
    if source is None:
        raise InvalidRequestError.of("mixing.source", "give exactly one of seed, z and w")
    return StyleMix.of(source, _LAYER_GROUPS[mixing.group] if mixing.group else tuple(mixing.layers))


def _encode_options(options: image_pb2.ImageOptions) -> EncodeOptions:
    if options.format not in _FORMATS:
        known = ", ".join(image_pb2.ImageFormat.Name(number) for number in _FORMATS if number)
        raise InvalidRequestError.of("format", f"{options.format} is unknown; there are {known}")
    return EncodeOptions(
        _FORMATS[options.format],
        options.quality if options.HasField("quality") else None,
        options.size if options.HasField("size") else None,
    )


def _priority(priority: synthesis_pb2.Priority, default: Priority) -> Priority:
    if priority == synthesis_pb2.PRIORITY_UNSPECIFIED:
        return default
    if priority not in _PRIORITIES:
        known = ", ".join(synthesis_pb2.Priority.Name(number) for number in _PRIORITIES)
        raise InvalidRequestError.of("priority", f"{priority} is unknown; there are {known}")
    return _PRIORITIES[priority]
