"""Between the messages of nonesuch.v1 and the service's own terms, in both directions. No logic beyond that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nonesuch.engine.encoder import EncodeOptions
from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.image_format import ImageFormat
from nonesuch.engine.interpolation import frame_count
from nonesuch.engine.latent_pipeline import MAX_MIXES, PictureOptions
from nonesuch.engine.style_mix import LayerGroup, StyleMix
from nonesuch.engine.walk import Interpolation, Keyframe, Walk
from nonesuch.v1 import generation_service_pb2, image_pb2, synthesis_pb2

from .batching.request_queue import Priority
from .image_request import ImageRequest, MadeImage, fresh_seed

__all__ = ["generation_message", "image_message", "one_request", "stream_requests", "walk_request"]

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
_WIRE_FORMATS = {format: number for number, format in _FORMATS.items() if number}


def one_request(message: generation_service_pb2.GenerateRequest) -> ImageRequest:
    """The request of a unary call; a source that is not set becomes a fresh seed.

    Raises:
        InvalidRequestError: a value that no model could take.
    """
    priority = _priority(message.priority, Priority.INTERACTIVE)
    return _request(message.model, message.source, message.synthesis, _encode_options(message.image), priority)


def stream_requests(message: generation_service_pb2.GenerateStreamRequest, most: int) -> list[ImageRequest]:
    """The requests of a stream, `most` at the most.

    Raises:
        InvalidRequestError: neither or both of sources and seed_range, too many images, or as `one_request`.
    """
    encode = _encode_options(message.image)
    sources: Sequence[synthesis_pb2.Source] = message.sources
    if message.HasField("seed_range"):
        if sources:
            raise InvalidRequestError.of("seed_range", "is given together with sources; give one of them")
        first, count = message.seed_range.first, message.seed_range.count
        if not 1 <= count <= most or first + count > 1 << 32:
            raise InvalidRequestError.of(
                "seed_range", f"{count} seeds from {first}; a stream has 1 to {most}, and seeds end at {(1 << 32) - 1}"
            )
        sources = [synthesis_pb2.Source(seed=seed) for seed in range(first, first + count)]
    elif not 1 <= len(sources) <= most:
        raise InvalidRequestError.of("sources", f"{len(sources)} images; a stream has 1 to {most}")
    priority = _priority(message.priority, Priority.BULK if len(sources) > 1 else Priority.INTERACTIVE)
    common = _request(message.model, synthesis_pb2.Source(seed=0), message.synthesis, encode, priority)
    return [_from_source(common, source) for source in sources]


def walk_request(message: generation_service_pb2.WalkRequest, most: int) -> tuple[Walk, ImageRequest]:
    """The path of a walk, and what all its frames have in common.

    Raises:
        InvalidRequestError: a key frame without a source, too many frames, or as `one_request`.
    """
    if message.interpolation not in _INTERPOLATIONS:
        known = ", ".join(generation_service_pb2.Interpolation.Name(number) for number in _INTERPOLATIONS)
        raise InvalidRequestError.of("interpolation", f"{message.interpolation} is unknown; there are {known}")
    count = frame_count(len(message.keyframes), message.frames_per_step, closed=message.closed)
    if count > most:
        raise InvalidRequestError.of("frames_per_step", f"{count} frames in all; a stream has 1 to {most}")
    walk = Walk(
        [_keyframe(source) for source in message.keyframes],
        message.frames_per_step,
        _INTERPOLATIONS[message.interpolation],
        message.closed,
    )
    source = synthesis_pb2.Source(seed=0)  # its place is taken by each frame's latent
    encode = _encode_options(message.image)
    return walk, _request(message.model, source, message.synthesis, encode, Priority.BULK)


def image_message(made: MadeImage) -> image_pb2.Image:
    """The image of an answer."""
    return image_pb2.Image(
        data=made.data,
        format=_WIRE_FORMATS[made.options.format],
        width=made.width,
        height=made.height,
        channels=made.channels,
    )


def generation_message(made: MadeImage) -> synthesis_pb2.Generation:
    """What an answer says about the image's making."""
    timing = made.timing
    return synthesis_pb2.Generation(
        model=made.model,
        model_id=made.model_id,
        build_id=made.build_id,
        seed=made.seed,
        psi=made.psi,
        timing=synthesis_pb2.Timing(
            queue_us=round(timing.queue_ms * 1e3),
            inference_us=round(timing.inference_ms * 1e3),
            encode_us=round(timing.encode_ms * 1e3),
            total_us=round(timing.total_ms * 1e3),
        ),
        batch=synthesis_pb2.Batch(size=made.batch_size, padded_size=made.padded_size),
        cached=made.cached,
    )


def _request(
    model: str,
    source: synthesis_pb2.Source,
    synthesis: synthesis_pb2.SynthesisOptions,
    encode: EncodeOptions,
    priority: Priority,
) -> ImageRequest:
    noise_mode, picture = _noise_mode(synthesis.noise_mode), _picture(synthesis)
    common = ImageRequest(model, noise_mode=noise_mode, picture=picture, encode=encode, priority=priority)
    return _from_source(common, source)


def _from_source(common: ImageRequest, source: synthesis_pb2.Source) -> ImageRequest:
    """The request for one source; all else is as in `common`, which is made once for a whole stream."""
    origin = source.WhichOneof("origin")
    return replace(
        common,
        seed=source.seed if origin == "seed" else fresh_seed() if origin is None else None,
        z=source.z.values if origin == "z" else None,
        w=source.w.values if origin == "w" else None,
    )


def _keyframe(source: synthesis_pb2.Source) -> Keyframe:
    origin = source.WhichOneof("origin")
    if origin is None:
        raise InvalidRequestError.of("keyframes", "each key frame is exactly one of seed, z and w")
    return Keyframe(
        seed=source.seed if origin == "seed" else None,
        z=source.z.values if origin == "z" else None,
        w=source.w.values if origin == "w" else None,
    )


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
    origin = mixing.source.WhichOneof("origin")
    if bool(mixing.layers) == bool(mixing.group):
        raise InvalidRequestError.of("mixing.layers", "give either layers or a group")
    if mixing.group not in {synthesis_pb2.LAYER_GROUP_UNSPECIFIED, *_LAYER_GROUPS}:
        known = ", ".join(synthesis_pb2.LayerGroup.Name(number) for number in _LAYER_GROUPS)
        raise InvalidRequestError.of("mixing.group", f"{mixing.group} is unknown; there are {known}")
    return StyleMix(
        seed=mixing.source.seed if origin == "seed" else None,
        layers=_LAYER_GROUPS[mixing.group] if mixing.group else tuple(mixing.layers),
        z=mixing.source.z.values if origin == "z" else None,
        w=mixing.source.w.values if origin == "w" else None,
    )


def _encode_options(options: image_pb2.ImageOptions) -> EncodeOptions:
    if options.format not in _FORMATS:
        known = ", ".join(image_pb2.ImageFormat.Name(number) for number in _WIRE_FORMATS.values())
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
