"""Pixels -> bytes: JPEG, PNG and WebP with provenance metadata, and raw and npy without.

`encode_image` is a pure function that releases the GIL while it compresses; `EncoderPool` runs it on its own threads,
so that encoding overlaps inference.
"""

from __future__ import annotations

import io
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from .downscale import downscale
from .errors import InvalidRequestError
from .png import write_png
from .provenance import SOFTWARE, ImageRecord
from .version import package_version

DEFAULT_QUALITY = 90
_EXIF_DESCRIPTION, _EXIF_SOFTWARE = 0x010E, 0x0131


class ImageFormat(StrEnum):
    """A format by the name that commands and file suffixes use."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    RAW = "raw"  # the pixels: uint8, row-major, channels last; no metadata
    NPY = "npy"  # numpy's .npy of uint8 [H, W, C]; no metadata

    @property
    def suffix(self) -> str:
        """The file suffix with its dot."""
        return ".jpg" if self is ImageFormat.JPEG else f".{self.value}"

    @property
    def has_quality(self) -> bool:
        """Whether the format is lossy, with a quality of 1 to 100."""
        return self in {ImageFormat.JPEG, ImageFormat.WEBP}

    @classmethod
    def parse(cls, name: str) -> ImageFormat:
        """The format of that name; `jpg` is jpeg.

        Raises:
            InvalidRequestError: the name is unknown.
        """
        wanted = "jpeg" if name.lower() == "jpg" else name.lower()
        try:
            return cls(wanted)
        except ValueError as error:
            raise InvalidRequestError.of("format", f"{name!r} is unknown; there are {', '.join(cls)}") from error


@dataclass(frozen=True)
class EncodeOptions:
    """The options of `encode_image`."""

    format: ImageFormat = ImageFormat.JPEG
    quality: int | None = None  # JPEG and WebP: 1 to 100, None is 90
    size: int | None = None  # side in pixels, a power of two: scale down in linear light; None keeps the size

    def __post_init__(self) -> None:
        if self.quality is None:
            return
        if not self.format.has_quality:
            raise InvalidRequestError.of("quality", f"{self.format} is lossless and takes no quality")
        if not 1 <= self.quality <= 100:
            raise InvalidRequestError.of("quality", f"{self.quality} is out of range; it is 1 to 100")

    @property
    def identity(self) -> str:
        """Everything besides the pixels that determines the bytes: settings and the library's version."""
        quality = self.quality or DEFAULT_QUALITY if self.format.has_quality else ""
        # The software's name and version are written into the images.
        scaled = f" {self.size}" if self.size is not None else ""
        return f"{self.format} {quality} {_library(self.format)} {SOFTWARE}{scaled}"


@cache
def _library(image_format: ImageFormat) -> str:
    """The library that writes the format, and its version; empty for bare pixels."""
    match image_format:
        case ImageFormat.JPEG:
            return f"jpeg {features.version('jpg')}"
        case ImageFormat.WEBP:
            return f"webp {features.version('webp')}"
        case ImageFormat.PNG:
            return f"isal {package_version('isal')}"
    return ""


def encode_image(image: NDArray[np.uint8], options: EncodeOptions, record: ImageRecord) -> bytes:
    """Encode one image, uint8 [H, W, C] with 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGBA) channels.

    PNG, JPEG and WebP carry the record as XMP and as text; raw and npy are bare pixels. JPEG drops the alpha channel.
    With a size the picture is scaled down first.

    Raises:
        InvalidRequestError: the size is not valid for the picture.
    """
    if options.size is not None:
        image = downscale(image, options.size)
    if options.format is ImageFormat.RAW:
        return np.ascontiguousarray(image).tobytes()
    if options.format is ImageFormat.NPY:
        buffer = io.BytesIO()
        np.save(buffer, image, allow_pickle=False)
        return buffer.getvalue()
    if options.format is ImageFormat.PNG:
        return write_png(image, record.fields, record.xmp)
    exif = Image.Exif()
    exif[_EXIF_DESCRIPTION], exif[_EXIF_SOFTWARE] = record.text, SOFTWARE
    if options.format is ImageFormat.JPEG and image.shape[2] in {2, 4}:
        image = image[..., :-1]
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    buffer = io.BytesIO()
    quality = options.quality or DEFAULT_QUALITY
    if options.format is ImageFormat.JPEG:
        picture.save(buffer, "JPEG", quality=quality, exif=exif, xmp=record.xmp)
    else:
        # method 0: a third of the default's time for a tenth more bytes.
        picture.save(buffer, "WEBP", quality=quality, method=0, exif=exif, xmp=record.xmp)
    return buffer.getvalue()


class EncoderPool:
    """Encodes on its own threads; leaving `with` stops them."""

    def __init__(self, threads: int | None = None) -> None:
        self._executor = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="nonesuch-encode")

    def submit(self, image: NDArray[np.uint8], options: EncodeOptions, record: ImageRecord) -> Future[bytes]:
        """Queue one image; the future resolves to its bytes."""
        return self._executor.submit(encode_image, image, options, record)

    def close(self) -> None:
        """Finish submitted images and stop the threads."""
        self._executor.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
