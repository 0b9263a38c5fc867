"""Small committed digests of the original networks' images, so an export can be checked where neither is installed.

A digest has, for a few seeds at psi 1, the means of 8x8 blocks and the pixel in the middle of each. It was made by the
original network in its own runtime (`tests/make_digest.py`), so it holds our graph against something we did not write.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

__all__ = ["GRID", "Digest", "find_digest", "sample_image"]

GRID = 8
MEAN_TOLERANCE = 0.25
"""Of 255. Means of 16,384 pixels: runtimes differ by rounding at single pixels only, which all but cancels."""
PIXEL_TOLERANCE = 2
"""Of 255. Float32 runtimes sum in different orders; the bound is that of the parity tests."""


@dataclass(frozen=True)
class Digest:
    """What the original network showed."""

    seeds: tuple[int, ...]
    means: NDArray[np.float64]  # [seeds, GRID, GRID, channels]
    pixels: NDArray[np.float64]  # the same shape

    def compare(self, images: NDArray[np.uint8]) -> tuple[float, float]:
        """The largest deviations (of means, of pixels) of images [seeds, H, W, C] rendered from the seeds at psi 1."""
        means, pixels = zip(*(sample_image(image) for image in images), strict=True)
        return float(np.abs(np.stack(means) - self.means).max()), float(np.abs(np.stack(pixels) - self.pixels).max())


def sample_image(image: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Block means and middle pixels, each [GRID, GRID, C], of one image [H, W, C] whose sides GRID divides."""
    height, width, channels = image.shape
    blocks = image.reshape(GRID, height // GRID, GRID, width // GRID, channels).astype(np.float64)
    return blocks.mean(axis=(1, 3)), blocks[:, height // GRID // 2, :, width // GRID // 2]


def find_digest(model_id: str) -> Digest | None:
    """The committed digest of a model, or None."""
    resource = files("nonesuch.export") / "digests" / f"{model_id[:16]}.json"
    if not resource.is_file():
        return None
    content = json.loads(resource.read_text())
    return Digest(tuple(content["seeds"]), np.array(content["means"]), np.array(content["pixels"], dtype=np.float64))
