from __future__ import annotations

import pytest

from nonesuch.engine.encoder import ImageFormat
from nonesuch.engine.errors import InvalidRequestError


def test_every_format_is_found_by_name_in_any_case() -> None:
    for name in ImageFormat:
        assert ImageFormat.parse(name.value) is name
        assert ImageFormat.parse(name.value.upper()) is name
    assert ImageFormat.parse("jpg") is ImageFormat.parse("JPG") is ImageFormat.JPEG


def test_suffixes_are_distinct() -> None:
    assert [name.suffix for name in ImageFormat] == [".jpg", ".png", ".webp", ".raw", ".npy"]


@pytest.mark.parametrize("name", ["", "bmp", ".png", "png "])
def test_an_unknown_name_lists_the_formats(name: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        ImageFormat.parse(name)
    assert caught.value.message == f"format: {name!r} is unknown; there are jpeg, png, webp, raw, npy"
