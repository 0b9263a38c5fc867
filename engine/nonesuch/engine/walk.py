"""Walks through latent space: key frames and a way between them -> the latent of every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from .errors import InvalidRequestError
from .interpolation import frame_count, lerp_path, slerp_path
from .latent_pipeline import LatentPipeline, PictureOptions
from .latents import z_from_seeds
from .manifest import Manifest
from .source import Seeds, Source, W, Ws, Z


class Interpolation(StrEnum):
    """How to go from one key frame to the next."""

    LINEAR_W = "linear-w"  # straight lines in w: even steps in what is seen
    SPHERICAL_Z = "spherical-z"  # great circles in z: passes through more different pictures


@dataclass(frozen=True)
class Walk:
    """A path; its frames are counted by `interpolation.frame_count`."""

    keyframes: Sequence[Source]  # each of one picture: a seed, z [1, z_dim] or w [1, w_dim]
    frames_per_step: int
    interpolation: Interpolation = Interpolation.LINEAR_W
    closed: bool = False  # return to the first key frame

    @property
    def frame_count(self) -> int:
        """How many frames it has. Raises InvalidRequestError as `interpolation.frame_count`."""
        return frame_count(len(self.keyframes), self.frames_per_step, closed=self.closed)

    def check(self, manifest: Manifest) -> None:
        """Pass if every key frame is a point that the model's walks can go through; costs no mapping.

        Raises:
            InvalidRequestError: one does not fit; its name is that of the key frame.
        """
        for index, keyframe in enumerate(self.keyframes):
            try:
                if isinstance(keyframe.fit(manifest), Ws):
                    raise InvalidRequestError.of(
                        "w",
                        f"has {manifest.num_ws * manifest.w_dim} values; a walk goes through points of w, "
                        f"{manifest.w_dim}",
                    )
            except InvalidRequestError as error:
                raise error.under(f"keyframes[{index}].") from error


@dataclass(frozen=True)
class WalkFrames:
    """The latents of all frames, and the psi that shows them as their key frames alone."""

    source: Z | W
    psi: float


def walk_frames(latents: LatentPipeline, walk: Walk, options: PictureOptions) -> WalkFrames:
    """The latents of a walk's frames; `options` has the class that maps seeds and z, and the psi if there is one.

    Raises:
        InvalidRequestError: too few key frames, too many frames, or a key frame that does not fit.
        BackendError: the mapping network failed.
    """
    walk.frame_count  # noqa: B018  # refuses what is too long, before anything is mapped
    walk.check(latents.manifest)
    # Frames between a seed and a given w are truncated, as the seed is.
    psi = min(keyframe.psi(options.psi) for keyframe in walk.keyframes)
    if walk.interpolation is Interpolation.SPHERICAL_Z:
        points = np.concatenate([_z(latents, keyframe) for keyframe in walk.keyframes])
        return WalkFrames(Z(slerp_path(points, walk.frames_per_step, closed=walk.closed)), psi)
    points = np.concatenate([_w(latents, keyframe, options) for keyframe in walk.keyframes])
    return WalkFrames(W(lerp_path(points, walk.frames_per_step, closed=walk.closed)), psi)


def _z(latents: LatentPipeline, keyframe: Source) -> NDArray[np.float32]:
    match keyframe:
        case Seeds():
            return z_from_seeds(keyframe.seeds, latents.manifest.z_dim)
        case Z():
            return keyframe.array
    raise InvalidRequestError.of("keyframes", "a w is no point of z; walk linearly in w")


def _w(latents: LatentPipeline, keyframe: Source, options: PictureOptions) -> NDArray[np.float32]:
    if isinstance(keyframe, Ws):
        raise InvalidRequestError.of("keyframes", "a walk goes through points of w, not of ws")
    return latents.map(keyframe, options)
