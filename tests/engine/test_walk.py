from __future__ import annotations

import numpy as np
import pytest

from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.generator import Generator
from nonesuch.engine.latent_pipeline import PictureOptions
from nonesuch.engine.walk import Interpolation, Keyframe, Walk, walk_frames


@pytest.mark.parametrize("interpolation", list(Interpolation))
def test_key_frames_show_the_pictures_of_their_seeds(generator: Generator, interpolation: Interpolation) -> None:
    walk = Walk([Keyframe(1), Keyframe(2)], 3, interpolation)
    frames = walk_frames(generator.latents, walk, PictureOptions())
    assert frames.psi == 0.7
    images = generator.generate(**{frames.kind: frames.rows}, psi=frames.psi)  # type: ignore[arg-type]
    assert len(images) == 4
    for position, seed in ((0, 1), (3, 2)):
        expected = generator.generate([seed])[0].astype(int)
        # A key frame went through float64 and back: the same to a step of 8 bits.
        assert np.abs(images[position].astype(int) - expected).max() <= 1
    assert (images[1] != images[0]).any()


def test_a_walk_through_given_w_takes_them_as_they_are(generator: Generator) -> None:
    w = generator.styles([1, 2], psi=1.0)[:, 0]
    walk = Walk([Keyframe(w=w[0]), Keyframe(w=w[1])], 2)
    frames = walk_frames(generator.latents, walk, PictureOptions())
    assert (frames.kind, frames.psi) == ("w", 1.0)
    np.testing.assert_allclose(frames.rows[1], w.mean(axis=0), atol=1e-6)


def test_a_w_is_no_point_of_z_and_a_key_frame_needs_a_source(generator: Generator) -> None:
    w = generator.styles([1], psi=1.0)[0, 0]
    with pytest.raises(InvalidRequestError, match="a w is no point of z"):
        walk_frames(
            generator.latents,
            Walk([Keyframe(1), Keyframe(w=w)], 2, Interpolation.SPHERICAL_Z),
            PictureOptions(),
        )
    with pytest.raises(InvalidRequestError, match="exactly one of seed, z and w"):
        walk_frames(generator.latents, Walk([Keyframe(1), Keyframe()], 2), PictureOptions())
