"""Frames -> an animation: WebP and GIF by Pillow, MP4 (H.264) by PyAV, by the suffix of the file.

MP4 is written as the frames come. Pillow holds all frames of a WebP or GIF in memory, so those are bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nonesuch.engine.atomic_file import staged_file
from nonesuch.engine.errors import BackendUnavailableError, InvalidRequestError
from nonesuch.engine.provenance import ImageRecord

_SUFFIXES = (".webp", ".gif", ".mp4")
_MAX_PIXELS_IN_MEMORY = 1 << 30


def check_animation(path: Path, frames: int, resolution: int) -> None:
    """Refuse early an animation that `write_animation` cannot write.

    Raises:
        InvalidRequestError: the suffix is not one of an animation, or the frames do not fit into memory.
        BackendUnavailableError: the MP4 encoder is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise InvalidRequestError.of(
            "out", f"{path.name!r} is not an animation; give a name that ends in one of {', '.join(_SUFFIXES)}"
        )
    if suffix == ".mp4":
        _load_av()
    elif frames * resolution**2 > _MAX_PIXELS_IN_MEMORY:
        raise InvalidRequestError.of(
            "out", f"{frames} frames of {resolution}x{resolution} are too many for {suffix}; write an .mp4"
        )


def write_animation(path: Path, frames: Iterable[NDArray[np.uint8]], fps: int, record: ImageRecord) -> None:
    """Write frames uint8 [H, W, C] with 1 or 3 channels (or 4, whose alpha is left out); the file appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The writers choose the container by the suffix.
    with staged_file(path, prefix=f".{path.stem}-", suffix=path.suffix) as staging:
        if path.suffix.lower() == ".mp4":
            _write_mp4(staging, frames, fps, record)
        else:
            _write_with_pillow(staging, frames, fps, record)


def _write_with_pillow(path: Path, frames: Iterable[NDArray[np.uint8]], fps: int, record: ImageRecord) -> None:
    first, *rest = [Image.fromarray(_rgb(frame)) for frame in frames]
    options: dict[str, Any] = {"save_all": True, "append_images": rest, "duration": round(1000 / fps), "loop": 0}
    if path.suffix.lower() == ".webp":
        first.save(path, "WEBP", quality=85, method=2, xmp=record.xmp, **options)
    else:
        first.save(path, "GIF", comment=record.text, **options)


def _write_mp4(path: Path, frames: Iterable[NDArray[np.uint8]], fps: int, record: ImageRecord) -> None:
    av = _load_av()
    with av.open(str(path), "w", options={"movflags": "+faststart+use_metadata_tags"}) as container:
        container.metadata["comment"] = record.text
        stream = None
        for image in frames:
            frame = av.VideoFrame.from_ndarray(_rgb(image), format="rgb24")
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": "18"})
                # Every player shows 4:2:0.
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    channels = image.shape[2]
    return np.ascontiguousarray(np.repeat(image[..., :1], 3, axis=2) if channels < 3 else image[..., :3])


def _load_av() -> Any:
    try:
        return import_module("av")
    except ImportError as error:
        raise BackendUnavailableError(
            f"writing .mp4 needs PyAV, which is not installed ({error}); "
            "pip install 'nonesuch[video]', or write a .webp"
        ) from error
