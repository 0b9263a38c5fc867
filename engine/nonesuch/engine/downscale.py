"""Scales pictures down: each pixel is the mean of a square of pixels, in linear light.

sRGB values are not proportional to light, so their mean would darken fine detail such as hair. The transfer function is
that of IEC 61966-2-1. Alpha is already linear, and is the weight of the colours in their mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import InvalidRequestError

_LEVELS = np.arange(256) / 255
_LINEAR: NDArray[np.float32] = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(
    np.float32
)
_MIN_ALPHA = np.float32(1e-6)


def check_size(size: int, resolution: int) -> None:
    """Check that pictures of a resolution can be scaled to a size; both are the side in pixels.

    Raises:
        InvalidRequestError: the size is not a power of two, or is larger than the resolution.
    """
    if size < 1 or size & (size - 1) or size > resolution:
        raise InvalidRequestError.of(
            "size", f"{size} is not a valid size; use a power of two up to the model's resolution, {resolution}"
        )


def downscale(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scale a square picture down, uint8 [S, S, C] -> uint8 [size, size, C]; C is 1 to 4, as for `encode_image`.

    Args:
        image: the picture.
        size: the new side in pixels: S divided by a power of two. S itself returns the picture unchanged.

    Raises:
        InvalidRequestError: as `check_size`.
    """
    side = image.shape[0]
    check_size(size, side)
    if size == side:
        return image
    colours = 1 if image.shape[2] < 3 else 3
    linear: NDArray[np.float32] = _LINEAR[image[..., :colours]]
    if image.shape[2] == colours:
        return _to_srgb(_mean(linear, size))
    alpha: NDArray[np.float32] = image[..., colours:].astype(np.float32) / np.float32(255)
    covered = _mean(alpha, size)
    light = np.divide(_mean(linear * alpha, size), np.maximum(covered, _MIN_ALPHA), dtype=np.float32)
    return np.concatenate([_to_srgb(light), np.round(covered * 255).astype(np.uint8)], axis=2)


def _mean(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Means of squares, float32 [S, S, C] -> [size, size, C], by repeated halving."""
    while values.shape[0] > size:
        values = (values[0::2] + values[1::2]) * np.float32(0.5)
        values = (values[:, 0::2] + values[:, 1::2]) * np.float32(0.5)
    return values


def _to_srgb(light: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Convert linear light to sRGB levels, rounded to the nearest."""
    low = light * np.float32(12.92)
    high = np.float32(1.055) * np.power(light, np.float32(1 / 2.4)) - np.float32(0.055)
    levels = np.where(light <= 0.0031308, low, high)
    return np.clip(np.round(levels * 255), 0, 255).astype(np.uint8)
