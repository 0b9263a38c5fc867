"""Small committed digests of the original networks' images, to check an export without the original or its runtime.

A digest has, for a few seeds at psi 1, the means of 8x8 blocks and the middle pixel of each. The original network
made it in its own runtime (`tests/make_digest.py`), so it is independent of our code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

GRID = 8
MEAN_TOLERANCE = 0.25
"""Of 255. Runtimes differ by rounding at single pixels, which nearly cancels in a mean of 16,384 pixels."""
PIXEL_TOLERANCE = 2
"""Of 255. Float32 runtimes sum in different orders; the parity tests use the same limit."""


@dataclass(frozen=True)
class Digest:
    """Samples of the original network's images."""

    seeds: tuple[int, ...]
    means: NDArray[np.float64]  # [seeds, GRID, GRID, channels]
    pixels: NDArray[np.float64]  # the same shape

    def compare(self, images: NDArray[np.uint8]) -> tuple[float, float]:
        """Return the max differences (means, pixels) of images [seeds, H, W, C] rendered from the seeds at psi 1."""
        means, pixels = zip(*(sample_image(image) for image in images), strict=True)
        return float(np.abs(np.stack(means) - self.means).max()), float(np.abs(np.stack(pixels) - self.pixels).max())


def sample_image(image: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return block means and middle pixels, each [GRID, GRID, C], of an image [H, W, C]; GRID divides H and W."""
    height, width, channels = image.shape
    blocks = image.reshape(GRID, height // GRID, GRID, width // GRID, channels).astype(np.float64)
    return blocks.mean(axis=(1, 3)), blocks[:, height // GRID // 2, :, width // GRID // 2]


def find_digest(model_id: str) -> Digest | None:
    """Return the committed digest of a model, or None."""
    resource = files("nonesuch.export") / "digests" / f"{model_id[:16]}.json"
    if not resource.is_file():
        return None
    content = json.loads(resource.read_text())
    return Digest(tuple(content["seeds"]), np.array(content["means"]), np.array(content["pixels"], dtype=np.float64))
