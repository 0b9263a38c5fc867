"""Noise and transforms as inputs, on a manifest that has them, without running a graph."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.onnxruntime import load_mapping
from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.latent_pipeline import LatentPipeline, PictureOptions
from nonesuch.engine.latents import transform_matrix
from nonesuch.engine.manifest import GraphInput
from nonesuch.engine.source import Seeds, W

NOISE = (
    GraphInput(name="noise.b8.conv0", role="noise", shape=(1, 8, 8)),
    GraphInput(name="noise.b8.conv1", role="noise", shape=(1, 8, 8)),
)
TRANSFORM = GraphInput(name="transform", role="transform", shape=(3, 3), default=(2, 0, 0, 0, 2, 0, 0, 0, 1))


def pipeline(artifact: Artifact, *inputs: GraphInput, classes: int = 0) -> LatentPipeline:
    manifest = msgspec.structs.replace(artifact.manifest, c_dim=classes)
    variant = msgspec.structs.replace(manifest.variants[0], inputs=inputs)
    return LatentPipeline(replace(artifact, manifest=manifest), variant, load_mapping)


def test_noise_depends_on_the_image_and_not_on_its_batch(artifact: Artifact) -> None:
    latents = pipeline(artifact, *NOISE)
    together = latents.batch(Seeds([1, 2, 3]), PictureOptions())
    assert together.inputs["noise.b8.conv0"].shape == (3, 1, 8, 8)
    alone = latents.batch(Seeds([2]), PictureOptions())
    for name in ("noise.b8.conv0", "noise.b8.conv1"):
        np.testing.assert_array_equal(together.inputs[name][1], alone.inputs[name][0])
    assert (alone.inputs["noise.b8.conv0"] != alone.inputs["noise.b8.conv1"]).any()
    assert (together.inputs["noise.b8.conv0"][0] != together.inputs["noise.b8.conv0"][1]).any()


def test_a_noise_seed_applies_to_all_images_and_defaults_to_0_for_latents(artifact: Artifact) -> None:
    latents = pipeline(artifact, *NOISE)
    fixed = latents.batch(Seeds([1, 2]), PictureOptions(noise_seed=7)).inputs["noise.b8.conv0"]
    np.testing.assert_array_equal(fixed[0], fixed[1])
    np.testing.assert_array_equal(fixed[0], latents.batch(Seeds([7]), PictureOptions()).inputs["noise.b8.conv0"][0])
    of_w = latents.batch(W(np.zeros((1, 12))), PictureOptions()).inputs["noise.b8.conv0"]
    np.testing.assert_array_equal(of_w, latents.batch(Seeds([0]), PictureOptions()).inputs["noise.b8.conv0"])


def test_noise_is_standard_normal(artifact: Artifact) -> None:
    drawn = pipeline(artifact, *NOISE).batch(Seeds(range(200)), PictureOptions()).inputs["noise.b8.conv0"]
    # 12,800 draws: the standard error of the mean is 0.009, of the deviation 0.006; the limit is five of them.
    assert abs(drawn.mean()) < 0.045
    assert abs(drawn.std() - 1) < 0.03


def test_the_default_transform_is_that_of_the_checkpoint(artifact: Artifact) -> None:
    latents = pipeline(artifact, TRANSFORM)
    own = latents.batch(Seeds([1, 2]), PictureOptions()).inputs["transform"]
    np.testing.assert_array_equal(own, np.stack([np.diag([2.0, 2.0, 1.0])] * 2))
    moved = latents.batch(Seeds([1]), PictureOptions(translate=(0.25, -0.5), rotate_degrees=90)).inputs["transform"]
    motion = np.array([[0, 1, 0.25], [-1, 0, -0.5], [0, 0, 1]])
    np.testing.assert_allclose(moved[0] @ motion, np.eye(3), atol=1e-6)
    np.testing.assert_array_equal(transform_matrix((0, 0), 0), np.eye(3))


def test_models_without_a_transform_reject_one(artifact: Artifact) -> None:
    with pytest.raises(InvalidRequestError, match="cannot move its picture"):
        pipeline(artifact).batch(Seeds([1]), PictureOptions(rotate_degrees=5))
    with pytest.raises(InvalidRequestError, match="are not all within"):
        pipeline(artifact, TRANSFORM).batch(Seeds([1]), PictureOptions(translate=(float("nan"), 0)))


def test_conditional_models_need_a_class_for_seeds_but_not_for_w(artifact: Artifact) -> None:
    latents = pipeline(artifact, classes=5)
    with pytest.raises(InvalidRequestError, match="needs a class, 0 to 4"):
        latents.batch(Seeds([1]), PictureOptions())
    with pytest.raises(InvalidRequestError, match="5 is out of range; model 'tiny' has the classes 0 to 4"):
        latents.batch(Seeds([1]), PictureOptions(class_index=5))
    assert len(latents.batch(W(np.zeros((2, 12))), PictureOptions())) == 2
