"""Paths through latent space, from key frame to key frame.

With K key frames and `frames_per_step` n, an open path has (K - 1) * n + 1 frames and ends on the last key frame. A
closed path returns to the first key frame and has K * n frames, so it loops without a repeated frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import InvalidRequestError

MAX_WALK_FRAMES = 10_000
_PARALLEL = 1e-6


def frame_count(keyframes: int, frames_per_step: int, *, closed: bool) -> int:
    """The number of frames of a path.

    Raises:
        InvalidRequestError: fewer than two key frames, no frames, or more than MAX_WALK_FRAMES.
    """
    if keyframes < 2:
        raise InvalidRequestError.of("keyframes", f"{keyframes} given; a walk goes through at least 2")
    if frames_per_step < 1:
        raise InvalidRequestError.of("frames_per_step", f"{frames_per_step} is out of range; at least 1")
    count = keyframes * frames_per_step if closed else (keyframes - 1) * frames_per_step + 1
    if count > MAX_WALK_FRAMES:
        raise InvalidRequestError.of("frames_per_step", f"{count} frames in all; a walk has at most {MAX_WALK_FRAMES}")
    return count


def lerp_path(points: NDArray[np.float32], frames_per_step: int, *, closed: bool) -> NDArray[np.float32]:
    """Interpolate linearly between points [K, ...] -> frames [F, ...]; meant for w, which is nearly linear.

    Raises:
        InvalidRequestError: as `frame_count`.
    """
    first, second, t = _segments(points, frames_per_step, closed)
    t = t.reshape(-1, *[1] * (points.ndim - 1))
    return np.asarray((1 - t) * first + t * second, dtype=np.float32)


def slerp_path(points: NDArray[np.float32], frames_per_step: int, *, closed: bool) -> NDArray[np.float32]:
    """Follow great circles between points [K, D] -> frames [F, D]; meant for z, which lies near a sphere.

    Shoemake, "Animating Rotation with Quaternion Curves", SIGGRAPH 1985. Parallel and opposite points do not define a
    circle; straight lines join them.

    Raises:
        InvalidRequestError: as `frame_count`.
    """
    first, second, t = _segments(points, frames_per_step, closed)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosine = np.clip((first * second).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny), -1, 1)
    angle, sine = np.arccos(cosine), np.sqrt(1 - cosine**2)
    line = sine < _PARALLEL
    safe = np.where(line, 1, sine)
    from_weight = np.where(line, 1 - t, np.sin((1 - t) * angle) / safe)
    to_weight = np.where(line, t, np.sin(t * angle) / safe)
    return np.asarray(from_weight[:, None] * first + to_weight[:, None] * second, dtype=np.float32)


def _segments(
    points: NDArray[np.float32], frames_per_step: int, closed: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """For each frame its start point, its end point, and its position between them, 0 to 1."""
    count = frame_count(len(points), frames_per_step, closed=closed)
    step, offset = np.divmod(np.arange(count), frames_per_step)
    wide = points.astype(np.float64)
    # The last frame of an open path is its last key frame, at position 0.
    return wide[step], wide[(step + 1) % len(points)], offset / frames_per_step
