"""ONNX Runtime and OpenVINO: the same bytes for any batch, lanes and threads, for every variant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.onnxruntime import load_mapping
from nonesuch.engine.backends.registry import installed_backends
from nonesuch.engine.errors import ArtifactError
from nonesuch.engine.generator import Generator
from nonesuch.engine.latent_pipeline import LatentPipeline, PictureOptions
from nonesuch.engine.psnr import psnr_db
from nonesuch.engine.session import Batch, Session, SessionOptions
from nonesuch.engine.source import Seeds
from nonesuch.export.exporter import export_checkpoint
from nonesuch.export.families import find_family
from nonesuch.export.formats.detect import read_checkpoint
from nonesuch.export.graphs.synthesis_builder import VariantOptions

from ...conftest import REPOSITORY, TINY_SOURCE, tiny_checkpoint

RUNTIMES = ("onnxruntime", "openvino")
SETTINGS = ({"lanes": 2}, {"lanes": 3, "threads": 3}, {"threads": 1})
FIXTURES = ("tiny", "sg2ada_64", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sg3t_64", "sg3r_64")))
# Float32 sums in another order; on these small networks it changes a few grey levels by one.
MAX_DIFFERENCE = 2
MIN_PSNR_DB = 50.0


@pytest.fixture(scope="module", params=FIXTURES)
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A network with every form of up-sampling of its family, and with random noise for StyleGAN2."""
    name = str(request.param)
    path = REPOSITORY / "tests" / "fixtures" / f"{name}.pkl"
    checkpoint = tiny_checkpoint() if name == "tiny" else read_checkpoint(path)
    variants = [VariantOptions(upsampling=form) for form in find_family(checkpoint.family).upsampling]
    if checkpoint.family == "stylegan2":
        variants.append(VariantOptions(noise="random"))
    folder = tmp_path_factory.mktemp("networks") / name
    return export_checkpoint(checkpoint, folder, name=name, source=TINY_SOURCE, variants=variants)


def open_session(artifact: Artifact, runtime: str, **options: object) -> Session:
    return installed_backends()[runtime].session(artifact, SessionOptions(**{"max_batch_size": 5, **options}))  # type: ignore[arg-type]


def batches(artifact: Artifact, session: Session) -> Iterator[Batch]:
    whole = LatentPipeline(artifact, session.variant, load_mapping).batch(
        Seeds(range(5)), PictureOptions(noise_seed=None)
    )
    yield whole
    for size in (1, 2, 3):
        yield whole[:size]


def variants_of(artifact: Artifact) -> list[dict[str, str]]:
    return [{"upsampling": v.upsampling, "noise": v.noise} for v in artifact.manifest.variants]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_bytes_do_not_depend_on_batch_lanes_or_threads(network: Artifact, runtime: str) -> None:
    for chosen in variants_of(network):
        with open_session(network, runtime, **chosen) as session:
            whole = next(batches(network, session))
            expected = np.concatenate([session.submit(whole[i : i + 1]).result().images for i in range(5)])
        for settings in SETTINGS:
            with open_session(network, runtime, **chosen, **settings) as session:
                for batch in batches(network, session):
                    images = session.submit(batch).result().images
                    np.testing.assert_array_equal(images, expected[: len(batch)], err_msg=f"{chosen} {settings}")


def test_both_runtimes_show_the_same_pictures_of_every_variant(network: Artifact) -> None:
    pictures = []
    for chosen in variants_of(network):
        for runtime in RUNTIMES:
            with open_session(network, runtime, **chosen) as session:
                whole = next(batches(network, session))
                pictures.append((chosen["noise"], session.submit(whole).result().images))
    for noise, images in pictures:
        reference = next(others for other_noise, others in pictures if other_noise == noise)
        assert np.abs(images.astype(int) - reference.astype(int)).max() <= MAX_DIFFERENCE
        assert psnr_db(images, reference) >= MIN_PSNR_DB


def test_each_runtime_takes_the_graph_that_was_made_for_it(artifact: Artifact) -> None:
    for runtime, form in (("onnxruntime", "haar_conv_transpose"), ("openvino", "haar_butterfly")):
        assert Generator.open(artifact.folder, backend=runtime).session.variant.upsampling == form
    # It can also run the graph of the other one.
    chosen = Generator.open(artifact.folder, backend="onnxruntime", options=SessionOptions(upsampling="haar_butterfly"))
    assert chosen.session.variant.upsampling == "haar_butterfly"
    with pytest.raises(ArtifactError, match="has no polyphase upsampling variant for onnxruntime/openvino; it has"):
        Generator.open(artifact.folder, backend="onnxruntime", options=SessionOptions(upsampling="polyphase"))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_long_job_goes_in_batches_of_the_lanes(artifact: Artifact, runtime: str) -> None:
    for lanes, size in ((None, 1), (2, 2), (4, 4), (9, 5)):
        assert open_session(artifact, runtime, lanes=lanes).preferred_batch_size == size


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_results_are_the_callers_own(artifact: Artifact, runtime: str) -> None:
    with Generator.open(artifact.folder, backend=runtime, options=SessionOptions(lanes=2)) as generator:
        first = generator.generate([0, 1])
        kept = first.copy()
        generator.generate([2, 3])
        np.testing.assert_array_equal(first, kept)


def test_openvino_loads_the_graph_from_checked_bytes(artifact: Artifact, tmp_path: Path) -> None:
    with Generator.open(artifact.folder, backend="openvino") as generator:
        assert generator.session.identity.startswith("openvino ")
        assert generator.generate([0]).shape == (1, 32, 32, 3)
