from __future__ import annotations

import math

import numpy as np

from nonesuch.benchmarks.agreement import Agreement

PICTURE = np.random.RandomState(0).randint(0, 256, (1, 64, 64, 3)).astype(np.uint8)


def changed(difference: int, pixels: int) -> np.ndarray:
    """The picture with some values off by the difference."""
    found = PICTURE.astype(int).reshape(-1)
    found[:pixels] += np.where(found[:pixels] < 128, difference, -difference)
    return found.reshape(PICTURE.shape).astype(np.uint8)


def test_equal_pictures_agree() -> None:
    agreement = Agreement.of(PICTURE, PICTURE)
    assert (agreement.max_difference, agreement.psnr_db) == (0, math.inf)
    assert agreement.problem() == ""


def test_rounding_is_no_other_picture() -> None:
    agreement = Agreement.of(changed(1, 2000), PICTURE)
    assert agreement.max_difference == 1
    assert agreement.problem() == ""


def test_one_value_far_off_is_another_picture() -> None:
    assert "off by 3 of 255" in Agreement.of(changed(3, 1), PICTURE).problem()


def test_many_values_a_little_off_are_another_picture() -> None:
    agreement = Agreement.of(changed(2, PICTURE.size), PICTURE)
    assert agreement.max_difference == 2
    assert "PSNR 42.1 dB" in agreement.problem()
    assert agreement.problem(reduced_precision=True) == ""


def test_reduced_precision_must_still_show_the_picture() -> None:
    assert "30 dB" in Agreement.of(changed(40, PICTURE.size), PICTURE).problem(reduced_precision=True)


def test_another_size_is_another_picture() -> None:
    assert Agreement.of(PICTURE[:, :32], PICTURE).problem()
