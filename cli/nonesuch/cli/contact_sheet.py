"""A contact sheet: many images as a grid of thumbnails, built up one image at a time."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nonesuch.engine.encoder import EncodeOptions, ImageFormat, encode_image
from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.provenance import ImageRecord

_MAX_SIDE = 4096
_MAX_CELL = 512
_MIN_CELL = 16


def sheet_format(path: Path) -> ImageFormat:
    """The format of a sheet by its file suffix.

    Raises:
        InvalidRequestError: the suffix is not one of a known format.
    """
    try:
        return ImageFormat.parse(path.suffix.removeprefix("."))
    except InvalidRequestError as error:
        known = ", ".join(member.suffix for member in ImageFormat)
        raise InvalidRequestError.of(
            "grid", f"the suffix of {str(path)!r} is not an image format; use one of {known}"
        ) from error


class ContactSheet:
    """A grid for `count` images of `resolution` pixels a side, filled row by row.

    `columns` None: as many as give the fewest empty cells.
    """

    def __init__(self, count: int, resolution: int, columns: int | None = None) -> None:
        # At least as wide as high, at most twice as wide, and with the fewest empty cells.
        square = math.ceil(math.sqrt(count))
        candidates = (c for c in range(square, count + 1) if c <= 2 * math.ceil(count / c))
        self.columns = columns or min(candidates, key=lambda c: -count % c)
        self.rows = math.ceil(count / self.columns)
        self.cell = max(_MIN_CELL, min(_MAX_CELL, resolution, _MAX_SIDE // self.columns))
        self._canvas: NDArray[np.uint8] | None = None

    def place(self, index: int, image: NDArray[np.uint8]) -> None:
        """Put uint8 [H, W, C] in its cell."""
        if self._canvas is None:
            # White; where there is an alpha channel, opaque.
            self._canvas = np.full(
                (self.rows * self.cell, self.columns * self.cell, image.shape[2]), 255, dtype=np.uint8
            )
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        small = np.asarray(picture.resize((self.cell, self.cell), Image.Resampling.LANCZOS))
        row, column = divmod(index, self.columns)
        top, left = row * self.cell, column * self.cell
        self._canvas[top : top + self.cell, left : left + self.cell] = small.reshape(self.cell, self.cell, -1)

    def save(self, path: Path, record: ImageRecord) -> None:
        """Write the sheet in the format of the path's suffix."""
        if self._canvas is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_image(self._canvas, EncodeOptions(sheet_format(path)), record))
