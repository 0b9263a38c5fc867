"""The gate says "compared" only after a comparison, and rejects plans with other pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.onnxruntime import OnnxRuntimeSession
from nonesuch.engine.cuda_driver import find_driver
from nonesuch.engine.errors import BackendError
from nonesuch.engine.session import Batch, Session, SessionOptions
from nonesuch.engine.tensorrt.backend import plan_variant
from nonesuch.engine.tensorrt.build_spec import BuildSpec
from nonesuch.engine.tensorrt.library import Library
from nonesuch.engine.tensorrt.numerics_gate import GATE_SEEDS, Render, check_plan, compare_images, min_psnr_db
from nonesuch.engine.tensorrt.plan_request import PlanRequest
from nonesuch.export.exporter import export_checkpoint
from nonesuch.export.formats.detect import read_checkpoint
from nonesuch.export.graphs.synthesis_builder import VariantOptions

from ...conftest import REPOSITORY, TINY_SOURCE


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    checkpoint = read_checkpoint(REPOSITORY / "tests" / "fixtures" / "sg2ada_64.pkl")
    out = tmp_path_factory.mktemp("gate") / "model"
    variants = [VariantOptions("fp16"), VariantOptions("fp32")]
    return export_checkpoint(checkpoint, out, name="model", source=TINY_SOURCE, variants=variants)


def open_session(model: Artifact, precision: str) -> Session:
    variant = plan_variant(model, "tensorrt-rtx", precision=precision)
    return OnnxRuntimeSession(model, variant, SessionOptions(max_batch_size=4))


@pytest.fixture(scope="module")
def fp16(model: Artifact) -> Iterator[Session]:
    with open_session(model, "fp16") as session:
        yield session


@pytest.fixture(scope="module")
def fp32(model: Artifact) -> Iterator[Session]:
    with open_session(model, "fp32") as session:
        yield session


def images(session: Session) -> Render:
    return lambda batch: session.submit(batch).result().images


def spec_of(library: Library, model: Artifact, sizes: tuple[int, ...] = (1,), precision: str = "fp16") -> BuildSpec:
    return PlanRequest(library, model, plan_variant(model, "tensorrt-rtx", precision=precision), sizes).spec


def test_equal_images_are_a_comparison(rtx: Library, model: Artifact, fp16: Session) -> None:
    spec = spec_of(rtx, model)
    found = compare_images(model, fp16.variant, spec, images(fp16), images(fp16), "itself")
    assert (found.status, found.psnr_db, found.max_error, found.seeds) == ("compared", 99.0, 0, GATE_SEEDS)


def test_the_other_precision_passes_with_its_figures(
    rtx: Library, model: Artifact, fp16: Session, fp32: Session
) -> None:
    found = compare_images(model, fp16.variant, spec_of(rtx, model), images(fp32), images(fp16), "the float32 graph")
    # float16 differs from float32 as much as a correct float16 plan may differ from ONNX Runtime; 35 is the gate.
    assert found.psnr_db is not None
    assert 35 < found.psnr_db < 99
    assert found.max_error


@pytest.mark.parametrize(
    ("sizes", "compared"), [((1, 2, 4), [1, 1, 1, 1, 2, 2]), ((1,), [1, 1, 1, 1]), ((4,), [4]), ((3, 4), [3, 3])]
)
def test_every_profile_is_compared_in_whole_batches(
    rtx: Library, model: Artifact, fp16: Session, sizes: tuple[int, ...], compared: list[int]
) -> None:
    seen: list[int] = []

    def render(batch: Batch) -> NDArray[np.uint8]:
        seen.append(len(batch))
        return images(fp16)(batch)

    found = compare_images(model, fp16.variant, spec_of(rtx, model, sizes), render, images(fp16), "itself")
    assert seen == compared
    assert found.batch_sizes == tuple(dict.fromkeys(compared))


def test_a_fault_in_one_profile_is_detected(rtx: Library, model: Artifact, fp16: Session) -> None:
    def render(batch: Batch) -> NDArray[np.uint8]:
        found = images(fp16)(batch)
        return found if len(batch) == 1 else found[::-1]

    with pytest.raises(BackendError, match=r"in batches of 2"):
        compare_images(model, fp16.variant, spec_of(rtx, model, (1, 2, 4)), render, images(fp16), "itself")


@pytest.mark.parametrize("fault", ["swapped channels", "one colour", "another seed", "upside down"])
def test_other_pictures_are_rejected(rtx: Library, model: Artifact, fp16: Session, fault: str) -> None:
    def render(batch: Batch) -> NDArray[np.uint8]:
        found = images(fp16)(batch)
        return {
            "swapped channels": found[..., ::-1],
            "one colour": np.full_like(found, 128),
            "another seed": images(fp16)(Batch(-batch.ws, batch.inputs)),
            "upside down": found[:, ::-1],
        }[fault]

    with pytest.raises(BackendError, match=r"renders other images than itself: \d+\.\d dB in .* the minimum is 35 dB"):
        compare_images(model, fp16.variant, spec_of(rtx, model), render, images(fp16), "itself")


def test_float32_without_tf32_has_a_higher_minimum(rtx: Library, model: Artifact) -> None:
    request = PlanRequest(rtx, model, plan_variant(model, "tensorrt-rtx", precision="fp32"), (1,), tf32=False)
    assert min_psnr_db(request.spec) > min_psnr_db(spec_of(rtx, model, precision="fp32"))


@pytest.mark.skipif(find_driver().usable, reason="with a GPU the plan is compared; test_gpu.py")
def test_without_a_gpu_nothing_is_compared_and_the_record_says_why(rtx: Library, model: Artifact) -> None:
    variant = plan_variant(model, "tensorrt-rtx")
    found = check_plan(rtx, model, variant, spec_of(rtx, model), b"a plan")
    assert (found.status, found.note) == ("not run", find_driver().problem)
    assert (found.psnr_db, found.max_error, found.seeds) == (None, None, ())
