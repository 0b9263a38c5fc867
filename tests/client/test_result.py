from __future__ import annotations

import io
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nonesuch.client.result import image_from_answer
from nonesuch.v1 import generation_service_pb2, image_pb2, synthesis_pb2


def pixels(channels: int) -> NDArray[np.uint8]:
    return np.arange(4 * 5 * channels, dtype=np.uint8).reshape(4, 5, channels)


def encode(array: NDArray[np.uint8], name: str) -> bytes:
    buffer = io.BytesIO()
    if name == "raw":
        return array.tobytes()
    if name == "npy":
        np.save(buffer, array, allow_pickle=False)
    else:
        Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(buffer, name)
    return buffer.getvalue()


def generated(name: str, channels: int = 3) -> Any:
    array = pixels(channels)
    image = image_pb2.Image(
        data=encode(array, name),
        format=f"IMAGE_FORMAT_{name.upper()}",
        width=5,
        height=4,
        channels=channels,
    )
    return image_from_answer(generation_service_pb2.GenerateResponse(image=image))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", ["raw", "npy", "png"])
def test_lossless_formats_decode_to_the_pixels(name: str, channels: int) -> None:
    image = generated(name, channels)
    assert image.format == name
    array = image.numpy()
    assert array.dtype == np.uint8
    assert np.array_equal(array, pixels(channels))
    array[0, 0] = 0  # the array is the caller's own
    picture = image.pil()
    assert (picture.size, picture.mode) == ((5, 4), {1: "L", 3: "RGB", 4: "RGBA"}[channels])
    assert np.array_equal(np.asarray(picture).reshape(4, 5, channels), pixels(channels))


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_lossy_formats_decode(name: str) -> None:
    image = generated(name)
    assert image.numpy().shape == (4, 5, 3)
    assert image.pil().format == name.upper()


def test_an_array_with_objects_is_never_unpickled() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    image = image_pb2.Image(data=buffer.getvalue(), format=image_pb2.IMAGE_FORMAT_NPY)
    with pytest.raises(ValueError, match="allow_pickle"):
        image_from_answer(generation_service_pb2.GenerateResponse(image=image)).numpy()


@pytest.mark.parametrize(
    ("name", "suffix"), [("jpeg", ".jpg"), ("png", ".png"), ("webp", ".webp"), ("raw", ".raw"), ("npy", ".npy")]
)
def test_suffix_and_save(name: str, suffix: str, tmp_path: Path) -> None:
    image = generated(name)
    assert image.suffix == suffix
    saved = image.save(str(tmp_path / f"face{image.suffix}"))
    assert saved == tmp_path / f"face{suffix}"
    assert saved.read_bytes() == image.data


@pytest.mark.parametrize("psi", [0.7, -2.0, 1.0, 0.1, 0.0, 1 / 3, 0.123456789])
def test_psi_is_the_same_float32_in_the_fewest_digits(psi: float) -> None:
    made = synthesis_pb2.Generation(psi=psi)
    read = image_from_answer(generation_service_pb2.GenerateResponse(generation=made)).psi
    assert np.float32(read) == np.float32(psi)
    assert len(repr(read)) <= max(len(repr(psi)), 1) or psi == 1 / 3


def test_an_image_cannot_be_altered_and_its_text_is_short() -> None:
    image = generated("raw")
    with pytest.raises(FrozenInstanceError):
        image.seed = 1
    assert len(repr(image)) < 500


def test_a_format_newer_than_the_client_is_still_delivered() -> None:
    image = image_pb2.Image.FromString(b"\x0a\x01x\x10\x63")  # data "x", format 99
    read = image_from_answer(generation_service_pb2.GenerateResponse(image=image))
    assert (read.format, read.data) == ("unknown", b"x")
