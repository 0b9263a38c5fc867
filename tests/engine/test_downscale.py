from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from nonesuch.engine.downscale import downscale
from nonesuch.engine.encoder import EncodeOptions, ImageFormat, encode_image
from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.provenance import ImageRecord


def reference(image: np.ndarray, size: int) -> np.ndarray:
    """The same in float64, directly from the standard (IEC 61966-2-1)."""
    levels = image / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    step = len(image) // size
    mean = linear.reshape(size, step, size, step, -1).mean(axis=(1, 3))
    stored = np.where(mean <= 0.0031308, 12.92 * mean, 1.055 * mean ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(stored * 255))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [1, 8, 32, 64])
def test_it_is_the_mean_of_the_light(size: int, channels: int) -> None:
    image = np.random.RandomState(0).randint(0, 256, (64, 64, channels)).astype(np.uint8)
    scaled = downscale(image, size)
    assert scaled.shape == (size, size, channels)
    assert scaled.dtype == np.uint8
    # float32 against float64: a value between two levels may round either way.
    difference = np.abs(scaled.astype(int) - reference(image, size))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.002


def test_black_and_white_in_equal_parts_are_188_and_not_127() -> None:
    board = np.indices((16, 16)).sum(axis=0) % 2 * 255
    assert set(downscale(board[..., None].astype(np.uint8), 4).ravel()) == {188}  # half of the light


@pytest.mark.parametrize("level", [0, 1, 10, 11, 127, 254, 255])
def test_a_plain_picture_stays_as_it_is(level: int) -> None:
    assert set(downscale(np.full((32, 32, 3), level, np.uint8), 2).ravel()) == {level}


def test_transparent_pixels_do_not_affect_the_colour() -> None:
    image = np.zeros((2, 2, 4), np.uint8)
    image[0] = (200, 100, 50, 255)  # the lower half is transparent black
    assert downscale(image, 1).tolist() == [[[200, 100, 50, 128]]]
    grey = np.zeros((2, 2, 2), np.uint8)
    grey[:, 0] = (90, 255)
    assert downscale(grey, 1).tolist() == [[[90, 128]]]


@pytest.mark.parametrize("size", [0, -1, 3, 48, 128])
def test_invalid_sizes_are_rejected_with_the_valid_sizes(size: int) -> None:
    with pytest.raises(InvalidRequestError, match="a power of two up to the model's resolution, 64"):
        downscale(np.zeros((64, 64, 3), np.uint8), size)


def test_every_format_has_the_size_and_another_identity() -> None:
    image = np.random.RandomState(1).randint(0, 256, (32, 32, 3)).astype(np.uint8)
    record = ImageRecord("tiny", "0" * 64, 1, 0.7)
    for image_format in (ImageFormat.PNG, ImageFormat.JPEG, ImageFormat.WEBP):
        data = encode_image(image, EncodeOptions(image_format, size=8), record)
        with Image.open(io.BytesIO(data)) as picture:
            assert picture.size == (8, 8)
            if image_format is ImageFormat.PNG:
                np.testing.assert_array_equal(np.asarray(picture), downscale(image, 8))
    raw = encode_image(image, EncodeOptions(ImageFormat.RAW, size=8), record)
    assert raw == downscale(image, 8).tobytes()
    assert EncodeOptions(size=8).identity != EncodeOptions().identity
