"""Converts images to the messages of nonesuch.v1."""

from __future__ import annotations

from nonesuch.engine.encoder import ImageFormat
from nonesuch.v1 import image_pb2, synthesis_pb2

from ..core.image_request import MadeImage

_FORMATS = {
    ImageFormat.JPEG: image_pb2.IMAGE_FORMAT_JPEG,
    ImageFormat.PNG: image_pb2.IMAGE_FORMAT_PNG,
    ImageFormat.WEBP: image_pb2.IMAGE_FORMAT_WEBP,
    ImageFormat.RAW: image_pb2.IMAGE_FORMAT_RAW,
    ImageFormat.NPY: image_pb2.IMAGE_FORMAT_NPY,
}


def image_message(made: MadeImage) -> image_pb2.Image:
    """The image of an answer."""
    return image_pb2.Image(
        data=made.data,
        format=_FORMATS[made.options.format],
        width=made.width,
        height=made.height,
        channels=made.channels,
    )


def generation_message(made: MadeImage) -> synthesis_pb2.Generation:
    """The part of an answer that describes how the image was made."""
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
