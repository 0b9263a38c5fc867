from __future__ import annotations

import numpy as np
import pytest

from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.generator import Generator
from nonesuch.engine.latent_pipeline import PictureOptions
from nonesuch.engine.source import Seeds, W, Ws
from nonesuch.engine.walk import Interpolation, Walk, walk_frames


@pytest.mark.parametrize("interpolation", list(Interpolation))
def test_key_frames_show_the_pictures_of_their_seeds(generator: Generator, interpolation: Interpolation) -> None:
    walk = Walk([Seeds([1]), Seeds([2])], 3, interpolation)
    frames = walk_frames(generator.latents, walk, PictureOptions())
    assert frames.psi == 0.7
    images = list(generator.stream(frames.source, PictureOptions(frames.psi)))
    assert len(images) == 4
    for position, seed in ((0, 1), (3, 2)):
        expected = generator.generate([seed])[0].astype(int)
        # A key frame was converted to float64 and back: equal to one step of 8 bits.
        assert np.abs(images[position].astype(int) - expected).max() <= 1
    assert (images[1] != images[0]).any()


def test_a_walk_through_w_is_not_truncated(generator: Generator) -> None:
    w = generator.styles([1, 2], psi=1.0)[:, 0]
    walk = Walk([W(w[:1]), W(w[1:])], 2)
    frames = walk_frames(generator.latents, walk, PictureOptions())
    assert (type(frames.source), frames.psi) == (W, 1.0)
    np.testing.assert_allclose(frames.source.array[1], w.mean(axis=0), atol=1e-6)


def test_spherical_walks_reject_w_and_all_walks_reject_ws(generator: Generator) -> None:
    ws = generator.styles([1], psi=1.0)
    with pytest.raises(InvalidRequestError, match="a w is not a point of z"):
        walk_frames(
            generator.latents,
            Walk([Seeds([1]), W(ws[:, 0])], 2, Interpolation.SPHERICAL_Z),
            PictureOptions(),
        )
    with pytest.raises(
        InvalidRequestError, match=r"keyframes\[1\]\.w: has 96 values; a walk goes through points of w, 12"
    ):
        walk_frames(generator.latents, Walk([Seeds([1]), Ws(ws)], 2), PictureOptions())


def test_one_seed_among_the_key_frames_truncates_the_walk(generator: Generator) -> None:
    w = generator.styles([1], psi=1.0)[:, 0]
    assert walk_frames(generator.latents, Walk([Seeds([1]), W(w)], 2), PictureOptions()).psi == 0.7
    assert walk_frames(generator.latents, Walk([Seeds([1]), W(w)], 2), PictureOptions(0.4)).psi == 0.4
