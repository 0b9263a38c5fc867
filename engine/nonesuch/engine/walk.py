"""Walks through latent space: key frames and a way between them -> the latent of every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InvalidRequestError
from .interpolation import frame_count, lerp_path, slerp_path
from .latent_pipeline import LatentPipeline, PictureOptions
from .latents import DEFAULT_PSI, z_from_seeds

__all__ = ["Interpolation", "Keyframe", "Walk", "WalkFrames", "walk_frames"]


class Interpolation(StrEnum):
    """How to go from one key frame to the next."""

    LINEAR_W = "linear-w"  # straight lines in w: even steps in what is seen
    SPHERICAL_Z = "spherical-z"  # great circles in z: passes through more different pictures


@dataclass(frozen=True)
class Keyframe:
    """A point to pass through, from exactly one of the three."""

    seed: int | None = None
    z: ArrayLike | None = None  # [z_dim]
    w: ArrayLike | None = None  # [w_dim]


@dataclass(frozen=True)
class Walk:
    """A path; its frames are counted by `interpolation.frame_count`."""

    keyframes: Sequence[Keyframe]
    frames_per_step: int
    interpolation: Interpolation = Interpolation.LINEAR_W
    closed: bool = False  # return to the first key frame


@dataclass(frozen=True)
class WalkFrames:
    """The latents of all frames, [F, z_dim] or [F, w_dim], and the psi that shows them as their key frames alone."""

    kind: Literal["z", "w"]
    rows: NDArray[np.float32]
    psi: float


def walk_frames(latents: LatentPipeline, walk: Walk, options: PictureOptions) -> WalkFrames:
    """The latents of a walk's frames; `options` has the class that maps seeds and z, and the psi if there is one.

    Raises:
        InvalidRequestError: too few key frames, too many frames, or a key frame that does not fit.
        BackendError: the mapping network failed.
    """
    frame_count(len(walk.keyframes), walk.frames_per_step, closed=walk.closed)
    given = all(keyframe.w is not None for keyframe in walk.keyframes)
    psi = options.psi if options.psi is not None else 1.0 if given else DEFAULT_PSI
    if walk.interpolation is Interpolation.SPHERICAL_Z:
        points = np.concatenate([_z(latents, keyframe) for keyframe in walk.keyframes])
        return WalkFrames("z", slerp_path(points, walk.frames_per_step, closed=walk.closed), psi)
    points = np.concatenate([_w(latents, keyframe, options) for keyframe in walk.keyframes])
    return WalkFrames("w", lerp_path(points, walk.frames_per_step, closed=walk.closed), psi)


def _z(latents: LatentPipeline, keyframe: Keyframe) -> NDArray[np.float32]:
    if keyframe.w is not None:
        raise InvalidRequestError.of("keyframes", "a w is no point of z; walk linearly in w")
    if keyframe.seed is not None:
        return z_from_seeds([keyframe.seed], latents.z_dim)
    latents.check(z=keyframe.z)
    return np.asarray(keyframe.z, dtype=np.float32)[None]


def _w(latents: LatentPipeline, keyframe: Keyframe, options: PictureOptions) -> NDArray[np.float32]:
    if keyframe.seed is not None:
        return latents.map(options, seeds=[keyframe.seed])
    if keyframe.z is not None:
        return latents.map(options, z=np.asarray(keyframe.z)[None])
    if keyframe.w is not None:
        return latents.map(options, w=np.asarray(keyframe.w)[None])
    raise InvalidRequestError.of("keyframes", "a key frame is exactly one of seed, z and w")
