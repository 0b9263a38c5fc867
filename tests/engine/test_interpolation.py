from __future__ import annotations

import numpy as np
import pytest

from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.interpolation import MAX_WALK_FRAMES, frame_count, lerp_path, slerp_path

POINTS = np.random.RandomState(0).randn(3, 16).astype(np.float32)


@pytest.mark.parametrize("path", [lerp_path, slerp_path])
def test_an_open_path_ends_on_its_last_key_frame_and_a_closed_one_returns(path) -> None:  # type: ignore[no-untyped-def]
    opened, closed = path(POINTS, 4, closed=False), path(POINTS, 4, closed=True)
    assert len(opened) == frame_count(3, 4, closed=False) == 9
    assert len(closed) == frame_count(3, 4, closed=True) == 12
    # Float32 values of order 1, computed in float64.
    np.testing.assert_allclose(opened[::4], POINTS, atol=1e-6)
    np.testing.assert_allclose(closed[::4], POINTS, atol=1e-6)
    np.testing.assert_allclose(closed[:8], opened[:8], atol=1e-6)


def test_lines_are_straight_and_even() -> None:
    steps = np.diff(lerp_path(POINTS[:2], 5, closed=False), axis=0)
    np.testing.assert_allclose(steps, np.repeat((POINTS[1:2] - POINTS[:1]) / 5, 5, axis=0), atol=1e-6)


def test_circles_keep_the_length_and_the_angle_between_frames() -> None:
    unit = POINTS[:2] / np.linalg.norm(POINTS[:2], axis=1, keepdims=True)
    frames = slerp_path(unit, 6, closed=False)
    np.testing.assert_allclose(np.linalg.norm(frames, axis=1), 1, atol=1e-6)
    cosines = (frames[1:] * frames[:-1]).sum(axis=1)
    np.testing.assert_allclose(cosines, cosines[0], atol=1e-6)
    assert cosines[0] < 1 - 1e-3


@pytest.mark.parametrize("factor", [1.0, -1.0, 2.0])
def test_points_without_a_circle_are_joined_by_a_line(factor: float) -> None:
    points = np.stack([POINTS[0], POINTS[0] * np.float32(factor)])
    np.testing.assert_allclose(slerp_path(points, 4, closed=False), lerp_path(points, 4, closed=False), atol=1e-5)


@pytest.mark.parametrize(
    ("keyframes", "frames", "field"),
    [(1, 4, "keyframes"), (2, 0, "frames_per_step"), (2, MAX_WALK_FRAMES + 1, "frames_per_step")],
)
def test_impossible_walks_are_rejected(keyframes: int, frames: int, field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        frame_count(keyframes, frames, closed=False)
    assert caught.value.violations[0].field == field
