"""Walks through latent space: key frames and an interpolation -> the latent of every frame."""

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
    """The interpolation between key frames."""

    LINEAR_W = "linear-w"  # straight lines in w: visually even steps
    SPHERICAL_Z = "spherical-z"  # great circles in z: more varied pictures


@dataclass(frozen=True)
class Walk:
    """A path through key frames."""

    keyframes: Sequence[Source]  # each of one picture: a seed, z [1, z_dim] or w [1, w_dim]
    frames_per_step: int
    interpolation: Interpolation = Interpolation.LINEAR_W
    closed: bool = False  # return to the first key frame

    @property
    def frame_count(self) -> int:
        """The number of frames. Raises as `interpolation.frame_count`."""
        return frame_count(len(self.keyframes), self.frames_per_step, closed=self.closed)

    def check(self, manifest: Manifest) -> None:
        """Check that every key frame fits the model, without running the mapping network.

        Raises:
            InvalidRequestError: a key frame does not fit; the error names it.
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
    """The latents of all frames, and the psi to render them with."""

    source: Z | W
    psi: float


def walk_frames(latents: LatentPipeline, walk: Walk, options: PictureOptions) -> WalkFrames:
    """The latents of a walk's frames; `options` gives the class for seeds and z, and the psi.

    Raises:
        InvalidRequestError: too few key frames, too many frames, or a key frame that does not fit.
        BackendError: the mapping network failed.
    """
    walk.frame_count  # noqa: B018  # raises for walks that are too long, before any mapping
    walk.check(latents.manifest)
    # Frames between a seed and a w are truncated, because the seed is.
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
    raise InvalidRequestError.of("keyframes", "a w is not a point of z; use linear-w")


def _w(latents: LatentPipeline, keyframe: Source, options: PictureOptions) -> NDArray[np.float32]:
    if isinstance(keyframe, Ws):
        raise InvalidRequestError.of("keyframes", "a walk goes through points of w, not of ws")
    return latents.map(keyframe, options)
