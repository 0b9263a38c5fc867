from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from nonesuch.engine.png import write_png


def decoded(data: bytes) -> NDArray[np.uint8]:
    """The pixels [H, W, C] as Pillow reads them."""
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        pixels = np.asarray(picture)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of every chunk, each with its length and CRC checked."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, position = [], 8
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, content = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        assert struct.unpack_from(">I", data, position + 8 + length) == (zlib.crc32(kind + content),)
        found.append((kind, content))
        position += 12 + length
    return found


shapes = st.tuples(st.integers(1, 17), st.integers(1, 17), st.integers(1, 4))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(image=shapes.flatmap(lambda shape: arrays(np.uint8, shape)))
def test_pillow_reads_back_every_pixel(image: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(decoded(write_png(image, {}, b"")), image)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (3, 257), (1023, 511)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_odd_sizes_of_noise_survive(shape: tuple[int, int], channels: int) -> None:
    image = np.random.RandomState(0).randint(0, 256, (*shape, channels), dtype=np.uint8)
    np.testing.assert_array_equal(decoded(write_png(image, {}, b"")), image)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 254, 255])
def test_flat_images_survive_the_filters_arithmetic(value: int) -> None:
    image = np.full((9, 5, 3), value, dtype=np.uint8)
    np.testing.assert_array_equal(decoded(write_png(image, {}, b"")), image)


def test_views_are_written_in_their_own_order() -> None:
    image = np.random.RandomState(0).randint(0, 256, (20, 30, 3), dtype=np.uint8)
    for view in (image[::2, ::3], image[::-1, ::-1], image.swapaxes(0, 1), image[..., ::-1], np.asfortranarray(image)):
        np.testing.assert_array_equal(decoded(write_png(view, {}, b"")), view)


def test_the_same_pixels_give_the_same_bytes() -> None:
    image = np.random.RandomState(0).randint(0, 256, (64, 48, 3), dtype=np.uint8)
    first = write_png(image, {"a": "b"}, b"x")
    assert write_png(image.copy(), {"a": "b"}, b"x") == first
    assert write_png(np.asfortranarray(image), {"a": "b"}, b"x") == first
    image[3, 3, 0] ^= 1
    assert write_png(image, {"a": "b"}, b"x") != first


def test_the_chunks_have_the_order_of_the_standard() -> None:
    data = write_png(np.zeros((2, 3, 3), np.uint8), {"Software": "s", "Description": "d"}, b"<x/>")
    found = chunks(data)
    assert [kind for kind, _ in found] == [b"IHDR", b"iTXt", b"iTXt", b"iTXt", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", found[0][1]) == (3, 2, 8, 2, 0, 0, 0)
    assert found[1][1] == b"XML:com.adobe.xmp\0\0\0\0\0<x/>"


def test_pillow_reads_the_text_as_utf_8() -> None:
    text = {"Software": "nonesuch", "Description": "наброски — 顔 😀", "a key": ""}
    with Image.open(io.BytesIO(write_png(np.zeros((1, 1, 1), np.uint8), text, b"<xmp/>"))) as picture:
        picture.load()
        assert isinstance(picture, PngImagePlugin.PngImageFile)
        assert {key: picture.text[key] for key in text} == text
        assert picture.info["xmp"] == b"<xmp/>"


def test_a_smooth_picture_is_compressed() -> None:
    y, x = np.mgrid[:256, :256]
    image = np.stack([x, y, (x + y) // 2], axis=-1).astype(np.uint8)
    # The filter makes a gradient nearly constant; without it the file would stay near 196,608 bytes.
    assert len(write_png(image, {}, b"")) < image.size / 20
