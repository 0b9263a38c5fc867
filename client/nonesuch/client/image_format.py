"""The image formats of the wire, by the names that callers use."""

from __future__ import annotations

from nonesuch.v1 import image_pb2

from .argument import choice

_NUMBERS = {
    "jpeg": image_pb2.IMAGE_FORMAT_JPEG,
    "png": image_pb2.IMAGE_FORMAT_PNG,
    "webp": image_pb2.IMAGE_FORMAT_WEBP,
    "raw": image_pb2.IMAGE_FORMAT_RAW,
    "npy": image_pb2.IMAGE_FORMAT_NPY,
}
_NAMES: dict[int, str] = {number: name for name, number in _NUMBERS.items()}


def format_number(name: str) -> image_pb2.ImageFormat:
    """The format of that name on the wire; `jpg` is jpeg.

    Raises:
        RequestError: the name is unknown.
    """
    wanted = name.lower() if isinstance(name, str) else name
    return choice("jpeg" if wanted == "jpg" else wanted, _NUMBERS, "format")


def format_name(number: int) -> str:
    """The name of a format on the wire; `unknown` for a number that is newer than this client."""
    return _NAMES.get(number, "unknown")
