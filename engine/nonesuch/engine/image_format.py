"""The image formats that nonesuch writes, on the wire and on disk."""

from __future__ import annotations

from enum import StrEnum

from .errors import InvalidRequestError


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
