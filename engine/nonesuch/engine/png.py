"""A PNG writer for 8-bit images that is about as fast as JPEG: one fixed filter and igzip.

Pillow tries five filters per row and deflates with zlib: about 0.4 s for a 1024x1024 face, more than rendering it.
Here every row has the Average filter, which numpy applies in one pass, and Intel's igzip deflates it: about 12 ms, with
a file size within a tenth. The format is ISO/IEC 15948 (PNG, third edition): sections 5 (chunks), 9 (filters).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by the number of channels: grey, grey+alpha, RGB, RGBA
_AVERAGE_FILTER = 3
_XMP_KEYWORD = b"XML:com.adobe.xmp"


def write_png(image: NDArray[np.uint8], text: Mapping[str, str], xmp: bytes) -> bytes:
    """Encode uint8 [H, W, C], 1 to 4 channels, with text (keywords of 1 to 79 Latin-1 letters) and an XMP packet."""
    height, width, channels = image.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    chunks = [_chunk(b"IHDR", header), _chunk(b"iTXt", _XMP_KEYWORD + b"\0\0\0\0\0" + xmp)]
    for keyword, value in text.items():
        # iTXt, uncompressed, no language: the only text chunk in UTF-8 (section 11.3.3.4).
        chunks.append(_chunk(b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + value.encode()))
    chunks.append(_chunk(b"IDAT", isal_zlib.compress(_filtered(image), 1)))
    chunks.append(_chunk(b"IEND", b""))
    return _SIGNATURE + b"".join(chunks)


def _filtered(image: NDArray[np.uint8]) -> bytes:
    """Each row as its filter type, then x - floor((left + up) / 2) modulo 256 (section 9.2)."""
    height, width, channels = image.shape
    rows = image.reshape(height, width * channels)
    left, up = np.zeros_like(rows), np.zeros_like(rows)
    left[:, channels:] = rows[:, :-channels]
    up[1:] = rows[:-1]
    out = np.empty((height, 1 + rows.shape[1]), dtype=np.uint8)
    out[:, 0] = _AVERAGE_FILTER
    # (a & b) + ((a ^ b) >> 1) is floor((a + b) / 2) in 8 bits.
    np.subtract(rows, (left & up) + ((left ^ up) >> 1), out=out[:, 1:])
    return out.tobytes()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
