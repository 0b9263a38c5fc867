from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nonesuch.engine.directions import Directions, factorize
from nonesuch.engine.errors import InvalidRequestError

RANDOM = np.random.RandomState(0)
AFFINES = [RANDOM.randn(20, 6).astype(np.float32), RANDOM.randn(9, 6).astype(np.float32)]


def test_no_unit_step_changes_the_styles_more_than_the_first_direction() -> None:
    found = factorize(AFFINES, [0, 2], 6, "id")
    stacked = np.concatenate(AFFINES).astype(np.float64)

    def change(step: np.ndarray) -> float:
        return float(np.linalg.norm(stacked @ step))

    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(6), atol=1e-5)  # float32
    changes = [change(vector) for vector in found.vectors.astype(np.float64)]
    assert changes == sorted(changes, reverse=True)
    np.testing.assert_allclose(np.square(changes), found.eigenvalues, rtol=1e-4)
    for _ in range(200):
        step = RANDOM.randn(6)
        assert change(step / np.linalg.norm(step)) <= changes[0] * (1 + 1e-6)


def test_moving_changes_the_named_layers_only_and_keeps_the_input() -> None:
    found = factorize(AFFINES, [0, 2], 3, "id")
    ws = np.zeros((2, 4, 6), dtype=np.float32)
    moved = found.move(ws, 1, 2.0)
    np.testing.assert_array_equal(ws, 0)
    np.testing.assert_allclose(moved[:, [0, 2]], np.broadcast_to(2 * found.vectors[1], (2, 2, 6)))
    np.testing.assert_array_equal(moved[:, [1, 3]], 0)


def test_directions_survive_a_file(tmp_path: Path) -> None:
    found = factorize(AFFINES, [0, 2], 3, "id")
    found.save(tmp_path / "d.npz")
    loaded = Directions.load(tmp_path / "d.npz")
    np.testing.assert_array_equal(loaded.vectors, found.vectors)
    assert (loaded.layers, loaded.model_id) == ((0, 2), "id")


def test_invalid_arguments_are_rejected(tmp_path: Path) -> None:
    found = factorize(AFFINES, [0, 2], 3, "id")
    with pytest.raises(InvalidRequestError, match="3 is out of range; use 0 to 2"):
        found.move(np.zeros((1, 4, 6), np.float32), 3, 1.0)
    with pytest.raises(InvalidRequestError, match="are for w of 6 values"):
        found.move(np.zeros((1, 4, 7), np.float32), 0, 1.0)
    with pytest.raises(InvalidRequestError, match="w has 6 values"):
        factorize(AFFINES, [0], 7, "id")
    np.savez(tmp_path / "objects.npz", vectors=np.array([object()], dtype=object))
    for path in (tmp_path / "objects.npz", tmp_path / "missing.npz"):
        with pytest.raises(InvalidRequestError, match="has no directions"):
            Directions.load(path)


def test_damaged_files_other_models_and_extreme_strengths_are_rejected(tmp_path: Path) -> None:
    found = factorize(AFFINES, [0, 2], 3, "id")
    found.save(tmp_path / "d.npz")
    whole = (tmp_path / "d.npz").read_bytes()
    for content in (whole[:200], whole[:-30], b"PK\x03\x04", b""):
        (tmp_path / "cut.npz").write_bytes(content)
        with pytest.raises(InvalidRequestError, match="has no directions"):
            Directions.load(tmp_path / "cut.npz")
    found.check_model("id")
    with pytest.raises(InvalidRequestError, match="the directions are for model id, not for other"):
        found.check_model("other")
    for strength in (float("nan"), float("inf"), 1e39):
        with pytest.raises(InvalidRequestError, match="is not within"):
            found.move(np.zeros((1, 4, 6), np.float32), 0, strength)
