from __future__ import annotations

import numpy as np
import pytest

from nonesuch.engine.generator import Generator
from nonesuch.export.checks import GRID, MEAN_TOLERANCE, PIXEL_TOLERANCE, Digest, find_digest, sample_image

FACES_ID = "f5132428b0e018100500e7c2fe4b02faca58b8f2d496924eb6f44cb0007e08e8"


@pytest.fixture
def images(generator: Generator) -> np.ndarray:
    return generator.generate([0, 1, 2], psi=1.0)


@pytest.fixture
def digest(images: np.ndarray) -> Digest:
    means, pixels = zip(*(sample_image(image) for image in images), strict=True)
    return Digest((0, 1, 2), np.stack(means), np.stack(pixels))


def test_a_sample_has_block_means_and_middle_pixels() -> None:
    image = np.arange(16 * 24 * 2, dtype=np.int64).reshape(16, 24, 2).astype(np.uint8)
    means, pixels = sample_image(image)
    assert means.shape == pixels.shape == (GRID, GRID, 2)
    for row in range(GRID):
        for column in range(GRID):
            block = image[2 * row : 2 * row + 2, 3 * column : 3 * column + 3]
            np.testing.assert_allclose(means[row, column], block.mean(axis=(0, 1)))
            np.testing.assert_array_equal(pixels[row, column], block[1, 1])


def test_the_same_images_do_not_deviate(digest: Digest, images: np.ndarray) -> None:
    assert digest.compare(images) == (0, 0)


def test_an_exchanged_image_is_found(digest: Digest, images: np.ndarray) -> None:
    means, pixels = digest.compare(images[[0, 2, 1]])
    assert means > MEAN_TOLERANCE
    assert pixels > PIXEL_TOLERANCE


@pytest.mark.parametrize("row", [0, 1, 2])
def test_one_wrong_image_among_right_ones_is_found(digest: Digest, images: np.ndarray, row: int) -> None:
    wrong = images.copy()
    wrong[row] = images[(row + 1) % 3]
    assert digest.compare(wrong)[0] > MEAN_TOLERANCE


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images[:, ::-1],
        lambda images: images[:, :, ::-1],
        lambda images: images[..., ::-1],
        lambda images: images.swapaxes(1, 2),
        lambda images: np.roll(images, 1, axis=1),
        lambda images: np.roll(images, 1, axis=2),
        lambda images: np.clip(images.astype(int) + 1, 0, 255),
    ],
    ids=["upside down", "mirrored", "BGR", "transposed", "a row lower", "a column aside", "one level brighter"],
)
def test_typical_errors_of_a_port_are_found(digest: Digest, images: np.ndarray, change: object) -> None:
    assert callable(change)
    means, pixels = digest.compare(change(images))
    assert means > MEAN_TOLERANCE or pixels > PIXEL_TOLERANCE


def test_rounding_is_tolerated(digest: Digest, images: np.ndarray) -> None:
    # One pixel in a hundred differs by one level, as after truncating float32 sums in another order.
    random = np.random.RandomState(0)
    steps = random.choice([-1, 0, 1], size=images.shape, p=[0.005, 0.99, 0.005])
    means, pixels = digest.compare(np.clip(images.astype(int) + steps, 0, 255).astype(np.uint8))
    assert means <= MEAN_TOLERANCE
    assert pixels <= PIXEL_TOLERANCE


def test_too_few_or_too_many_images_are_an_error(digest: Digest, images: np.ndarray) -> None:
    for wrong in (images[:2], images[[0, 1, 2, 0]]):
        with pytest.raises(ValueError, match=r"broadcast|shape"):
            digest.compare(wrong)


def test_the_default_model_has_a_digest() -> None:
    digest = find_digest(FACES_ID)
    assert digest is not None
    assert digest.seeds == (0, 1)
    assert digest.means.shape == digest.pixels.shape == (2, GRID, GRID, 3)
    # Two different people.
    assert np.abs(digest.means[0] - digest.means[1]).max() > 50


def test_other_models_have_none(generator: Generator) -> None:
    assert find_digest(generator.manifest.model_id) is None
