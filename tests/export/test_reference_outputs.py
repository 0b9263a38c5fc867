"""Compares every fixture checkpoint, from file to pictures, with the output of the format's own code.

The references are float32 on a CPU: `ws` at psi 1, `ws_truncated` at psi 0.7, with a cutoff of 3 if the code
has one, and `image`, float and not clamped, from `ws_truncated`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.onnxruntime import inference_session, load_mapping
from nonesuch.engine.latent_pipeline import LatentPipeline, PictureOptions
from nonesuch.engine.session import Batch, SessionOptions
from nonesuch.engine.source import Seeds, Z
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.exporter import export_checkpoint
from nonesuch.export.families import find_family
from nonesuch.export.formats.detect import read_checkpoint
from nonesuch.export.fp16_simulator import Fp16Simulator
from nonesuch.export.graphs.synthesis_builder import VariantOptions

from ..conftest import REPOSITORY, TINY_SOURCE

FIXTURES = sorted(path for path in (REPOSITORY / "tests" / "fixtures").iterdir() if path.suffix in {".pkl", ".pt"})
# w is the sum of products through at most 4 layers in float32, of order 1.
WS_TOLERANCE = 1e-5
# Of the picture's standard deviation. Float32 sums in another order; at most 6e-6 was measured.
IMAGE_TOLERANCE = 1e-3


class Case:
    """One fixture: its weights, its artifact, and its reference."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.checkpoint: Checkpoint = read_checkpoint(path)
        upsampling = ("transposed", "polyphase")
        variants = [VariantOptions(output="float32_nchw", upsampling=form) for form in upsampling]
        variants.append(VariantOptions(output="float32_nchw", linear="conv1x1"))
        name = path.stem
        self.artifact: Artifact = export_checkpoint(
            self.checkpoint, folder / name, name=name, source=TINY_SOURCE, variants=variants
        )
        with np.load(path.with_name(f"{name}.ref.npz")) as reference:
            self.reference: dict[str, Any] = dict(reference)

    def styles(self, **options: Any) -> np.ndarray:
        """Return styles of the reference's latents and classes, one image at a time, as in requests."""
        latents = LatentPipeline(self.artifact, self.artifact.manifest.variants[0], load_mapping)
        classes = self.reference["c"].argmax(axis=1) if "c" in self.reference else [None] * 4
        rows = [
            latents.styles(Z(z[None]), PictureOptions(class_index=None if c is None else int(c), **options))
            for z, c in zip(self.reference["z"], classes, strict=True)
        ]
        return np.concatenate(rows)


@pytest.fixture(scope="module", params=FIXTURES, ids=lambda path: path.stem)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(request.param, tmp_path_factory.mktemp("fixtures"))


def test_every_format_has_a_fixture() -> None:
    assert len(FIXTURES) == 8


def test_mapped_and_truncated_styles_match_the_originals(case: Case) -> None:
    psi = float(case.reference["truncation_psi"])
    wanted = {"ws": {"psi": 1.0}, "ws_truncated": {"psi": psi}, "ws_truncated_cutoff3": {"psi": psi, "cutoff": 3}}
    for name, options in wanted.items():
        if name in case.reference:
            np.testing.assert_allclose(case.styles(**options), case.reference[name], atol=WS_TOLERANCE, rtol=0)


@pytest.mark.parametrize("n", [1, 3, 4])
def test_every_exact_variant_matches_the_original_pictures(case: Case, n: int) -> None:
    expected = case.reference["image"][:n]
    transform = np.repeat(np.eye(3, dtype=np.float32)[None], n, axis=0)
    for variant in case.artifact.manifest.variants:
        feeds = {"ws": case.reference["ws_truncated"][:n].astype(np.float32)}
        if variant.inputs:
            feeds["transform"] = transform
        session = inference_session(case.artifact.read(variant.file), SessionOptions())
        found = session.run(None, feeds)[0]
        worst = np.abs(found - expected).max() / case.reference["image"].std()
        assert worst < IMAGE_TOLERANCE, variant.file


def test_the_whole_path_from_latents_to_pictures(case: Case) -> None:
    """Render our own styles with our own graph."""
    psi = float(case.reference["truncation_psi"])
    variant = case.artifact.manifest.variants[0]
    inputs = {"transform": np.repeat(np.eye(3, dtype=np.float32)[None], 4, axis=0)} if variant.inputs else {}
    batch = Batch(case.styles(psi=psi), inputs)
    session = inference_session(case.artifact.read(variant.file), SessionOptions())
    worst = np.abs(session.run(None, batch.feeds())[0] - case.reference["image"]).max()
    assert worst / case.reference["image"].std() < IMAGE_TOLERANCE


@pytest.mark.parametrize("seeds", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_float16_renders_many_seeds_at_psi_1(case: Case, seeds: int) -> None:
    variant = case.artifact.manifest.variants[0]
    options = PictureOptions(psi=1.0, class_index=0 if case.artifact.manifest.c_dim else None)
    batch = LatentPipeline(case.artifact, variant, load_mapping).batch(Seeds(range(seeds)), options)
    half = VariantOptions("fp16", variant.upsampling, output="float32_nchw")
    simulator = Fp16Simulator(ir.to_proto(find_family(case.checkpoint.family).build(case.checkpoint, half)))
    exact = inference_session(case.artifact.read(variant.file), SessionOptions())
    for start in range(0, seeds, 20):
        feeds = batch[start : start + 20].feeds()
        simulator.run(feeds).check(exact.run(None, feeds)[0])  # at least 40 dB, nothing infinite, no NaN
