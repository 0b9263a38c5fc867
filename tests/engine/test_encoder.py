from __future__ import annotations

import io
from typing import Any

import exiv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from nonesuch.engine.encoder import DEFAULT_QUALITY, EncodeOptions, EncoderPool, ImageFormat, encode_image
from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.provenance import DIGITAL_SOURCE_TYPE, SOFTWARE, ImageRecord

RECORD = ImageRecord("tiny <&\"'> 顔", "ab" * 32, 5, 0.7)
CARRIES_METADATA = [ImageFormat.PNG, ImageFormat.JPEG, ImageFormat.WEBP]
LOSSY = [ImageFormat.JPEG, ImageFormat.WEBP]
LOSSLESS = [ImageFormat.PNG, ImageFormat.RAW, ImageFormat.NPY]


def smooth(channels: int, height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """Waves that lossy codecs compress well; an alpha channel is opaque."""
    y, x = np.mgrid[:height, :width] / 16
    image = np.stack([127.5 + 120 * np.sin(x + c) * np.cos(y - c) for c in range(channels)], axis=-1).astype(np.uint8)
    if channels == 4:
        image[..., 3] = 255
    return image


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.RandomState(1).randint(0, 256, shape, dtype=np.uint8)


def pixels_of(data: bytes, options: EncodeOptions, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    if options.format is ImageFormat.RAW:
        return np.frombuffer(data, dtype=np.uint8).reshape(shape)
    if options.format is ImageFormat.NPY:
        array: NDArray[np.uint8] = np.load(io.BytesIO(data), allow_pickle=False)
        return array
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == options.format.name
        picture.load()
        pixels = np.asarray(picture)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def psnr_db(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(float) - b.astype(float)) ** 2), 1e-9)))


@pytest.mark.parametrize("name", LOSSLESS)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (17, 31), (96, 128)])
def test_lossless_formats_keep_every_bit(name: ImageFormat, channels: int, size: tuple[int, int]) -> None:
    image = noise(*size, channels)
    options = EncodeOptions(name)
    found = pixels_of(encode_image(image, options, RECORD), options, image.shape)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("name", LOSSY)
@pytest.mark.parametrize("channels", [1, 3, 4])
# Odd sizes leave half a block of subsampled chroma at the border.
@pytest.mark.parametrize("size", [(96, 128), (97, 33)])
def test_lossy_formats_stay_close(name: ImageFormat, channels: int, size: tuple[int, int]) -> None:
    image = smooth(channels, *size)
    options = EncodeOptions(name, quality=95)
    found = pixels_of(encode_image(image, options, RECORD), options, image.shape)
    assert found.shape[:2] == image.shape[:2]
    visible = min(channels, 3)
    if found.shape[2] == 4:
        np.testing.assert_array_equal(found[..., 3], 255)
    # Quality 95 gives about 40 dB here. Wrong channels, a shifted row or BGR stay below 15 dB on this picture, so 30 dB
    # detects them. WebP does not support grey: it decodes to three channels.
    expected = np.repeat(image, 3, axis=2) if channels == 1 and found.shape[2] == 3 else image[..., :visible]
    assert psnr_db(found[..., : expected.shape[2]], expected) > 30


@pytest.mark.parametrize("name", LOSSY)
def test_a_single_pixel_can_be_lossy(name: ImageFormat) -> None:
    options = EncodeOptions(name)
    assert pixels_of(encode_image(noise(1, 1, 3), options, RECORD), options, (1, 1, 3)).shape == (1, 1, 3)


def test_jpeg_leaves_alpha_out() -> None:
    image = smooth(4)
    image[..., 3] = 0
    options = EncodeOptions(ImageFormat.JPEG, quality=95)
    found = pixels_of(encode_image(image, options, RECORD), options, image.shape)
    assert found.shape[2] == 3
    assert psnr_db(found, image[..., :3]) > 30


def test_webp_and_png_keep_alpha() -> None:
    image = smooth(4)
    image[::2, :, 3] = 7
    for name in (ImageFormat.PNG, ImageFormat.WEBP):
        options = EncodeOptions(name)
        found = pixels_of(encode_image(image, options, RECORD), options, image.shape)
        # WebP codes alpha without loss, beside its lossy colours.
        np.testing.assert_array_equal(found[..., 3], image[..., 3])


@pytest.mark.parametrize("name", LOSSY)
def test_quality_changes_the_size_and_defaults_to_90(name: ImageFormat) -> None:
    image = noise(64, 64, 3)
    sizes = [len(encode_image(image, EncodeOptions(name, quality), RECORD)) for quality in (1, 50, 100)]
    assert sizes == sorted(set(sizes))
    default = encode_image(image, EncodeOptions(name), RECORD)
    assert default == encode_image(image, EncodeOptions(name, DEFAULT_QUALITY), RECORD)


@pytest.mark.parametrize("name", LOSSY)
@pytest.mark.parametrize("quality", [0, -1, 101, 1000])
def test_quality_out_of_range_is_rejected(name: ImageFormat, quality: int) -> None:
    with pytest.raises(InvalidRequestError, match="it is 1 to 100") as caught:
        EncodeOptions(name, quality)
    assert [violation.field for violation in caught.value.violations] == ["quality"]


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_reject_a_quality(name: ImageFormat) -> None:
    with pytest.raises(InvalidRequestError, match=f"{name} is lossless and takes no quality"):
        EncodeOptions(name, 90)


def test_identity_has_everything_that_determines_the_bytes() -> None:
    options = [EncodeOptions(name) for name in ImageFormat]
    options += [EncodeOptions(name, quality) for name in LOSSY for quality in (1, 80)]
    identities = [option.identity for option in options]
    assert len(set(identities)) == len(identities)
    for name in LOSSY:
        assert EncodeOptions(name).identity == EncodeOptions(name, DEFAULT_QUALITY).identity


@pytest.mark.parametrize("name", list(ImageFormat))
def test_the_same_pixels_give_the_same_bytes(name: ImageFormat) -> None:
    image, options = noise(33, 65, 3), EncodeOptions(name)
    assert encode_image(image.copy(), options, RECORD) == encode_image(image, options, RECORD)


@pytest.mark.parametrize("name", list(ImageFormat))
def test_a_view_is_written_as_it_looks(name: ImageFormat) -> None:
    view, options = smooth(3)[::-1, ::2], EncodeOptions(name)
    found = pixels_of(encode_image(view, options, RECORD), options, view.shape)
    assert psnr_db(found, view) > 25


# Metadata, read by third-party libraries.


@pytest.mark.parametrize("name", CARRIES_METADATA)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_exiv2_reads_the_mark_of_generated_media(name: ImageFormat, channels: int) -> None:
    data = encode_image(smooth(channels), EncodeOptions(name), RECORD)
    picture: Any = exiv2.ImageFactory.open(data)
    picture.readMetadata()
    xmp = picture.xmpData()
    assert xmp["Xmp.iptcExt.DigitalSourceType"].toString() == DIGITAL_SOURCE_TYPE
    assert DIGITAL_SOURCE_TYPE.endswith("/trainedAlgorithmicMedia")
    assert xmp["Xmp.xmp.CreatorTool"].toString() == SOFTWARE
    # The model's name has every letter that XML must escape.
    assert xmp["Xmp.photoshop.Instructions"].toString() == RECORD.text
    assert RECORD.model in RECORD.text


@pytest.mark.parametrize("name", LOSSY)
def test_exif_says_the_same_to_simple_tools(name: ImageFormat) -> None:
    record = ImageRecord("tiny", "ab" * 32, 5, 0.7)
    with Image.open(io.BytesIO(encode_image(smooth(3), EncodeOptions(name), record))) as picture:
        exif = picture.getexif()
    assert exif[0x010E] == record.text
    assert exif[0x0131] == SOFTWARE


def test_pillow_reads_the_text_fields_of_a_png() -> None:
    with Image.open(io.BytesIO(encode_image(smooth(3), EncodeOptions(ImageFormat.PNG), RECORD))) as picture:
        picture.load()
        assert isinstance(picture, PngImagePlugin.PngImageFile)
        text = dict(picture.text)
    text.pop("XML:com.adobe.xmp", None)
    assert text == RECORD.fields
    assert text["nonesuch:seed"] == "5"


def test_raw_and_npy_are_bare_pixels() -> None:
    image = noise(5, 7, 3)
    assert encode_image(image, EncodeOptions(ImageFormat.RAW), RECORD) == image.tobytes()
    assert b"nonesuch" not in encode_image(image, EncodeOptions(ImageFormat.NPY), RECORD)


# EncoderPool


def test_the_pool_returns_the_bytes_of_the_function() -> None:
    images = [noise(16, 16, 3) ^ np.uint8(i) for i in range(12)]
    options = [EncodeOptions(name) for name in ImageFormat]
    jobs = [(image, options[i % len(options)], ImageRecord("tiny", "ab" * 32, i)) for i, image in enumerate(images)]
    with EncoderPool(threads=3) as pool:
        futures = [pool.submit(*job) for job in jobs]
    # Closing finishes submitted images.
    assert all(future.done() for future in futures)
    assert [future.result() for future in futures] == [encode_image(*job) for job in jobs]


def test_an_image_that_cannot_be_encoded_fails_alone() -> None:
    with EncoderPool(threads=1) as pool:
        bad = pool.submit(noise(4, 4, 5), EncodeOptions(ImageFormat.PNG), RECORD)
        good = pool.submit(noise(4, 4, 3), EncodeOptions(ImageFormat.PNG), RECORD)
        assert bad.exception() is not None
        assert good.result()[:4] == b"\x89PNG"


def test_a_closed_pool_rejects_images() -> None:
    pool = EncoderPool()
    pool.close()
    pool.close()
    with pytest.raises(RuntimeError):
        pool.submit(noise(4, 4, 3), EncodeOptions(), RECORD)
