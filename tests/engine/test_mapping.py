from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.onnxruntime import load_mapping
from nonesuch.engine.errors import BackendUnavailableError, InvalidRequestError
from nonesuch.engine.latents import z_from_seeds
from nonesuch.engine.mapping import Mapper


def test_a_row_has_the_same_bits_alone_and_among_others(artifact: Artifact) -> None:
    mapper, z = Mapper(artifact, load_mapping), z_from_seeds(range(9), 10)
    together = mapper(z)
    assert together.shape == (9, 12)
    assert together.dtype == np.float32
    for row in range(9):
        np.testing.assert_array_equal(mapper(z[row : row + 1])[0], together[row])


def test_no_rows_give_no_rows(artifact: Artifact) -> None:
    assert Mapper(artifact, load_mapping)(np.empty((0, 10), np.float32)).shape == (0, 12)


def test_threads_may_share_a_mapper(artifact: Artifact) -> None:
    mapper, z = Mapper(artifact, load_mapping), z_from_seeds(range(4), 10)
    expected = Mapper(artifact, load_mapping)(z)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: mapper(z), range(16)):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("z", [np.zeros(10), np.zeros((1, 9)), np.zeros((1, 1, 10)), np.full((1, 10), np.nan)])
def test_an_invalid_z_is_rejected_by_name(artifact: Artifact, z: np.ndarray) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Mapper(artifact, load_mapping)(z.astype(np.float32))
    assert [violation.field for violation in caught.value.violations] == ["z"]


def test_a_missing_onnxruntime_says_what_to_install(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendUnavailableError, match=r"nonesuch\[cpu\]"):
        Mapper(artifact, load_mapping)(z_from_seeds([0], 10))
