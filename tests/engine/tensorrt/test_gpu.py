"""Tests of both products that need a GPU: `pytest -m gpu`. Skipped elsewhere, with the probe's reason."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.onnxruntime import OnnxRuntimeSession, load_mapping
from nonesuch.engine.backends.registry import installed_backends
from nonesuch.engine.cuda_driver import find_driver
from nonesuch.engine.errors import PlanError
from nonesuch.engine.latent_pipeline import LatentPipeline, PictureOptions
from nonesuch.engine.psnr import psnr_db
from nonesuch.engine.session import Batch, Session, SessionOptions
from nonesuch.engine.source import Seeds
from nonesuch.engine.tensorrt.backend import plan_variant
from nonesuch.engine.tensorrt.library import load_library
from nonesuch.engine.tensorrt.plan_builder import build_plan
from nonesuch.engine.tensorrt.plan_folder import PlanFolder
from nonesuch.engine.tensorrt.plan_request import PlanRequest
from nonesuch.engine.tensorrt.plan_runtime import PlanRuntime
from nonesuch.engine.tensorrt.session import TensorRtSession
from nonesuch.export.exporter import export_checkpoint
from nonesuch.export.formats.detect import read_checkpoint
from nonesuch.export.graphs.synthesis_builder import VariantOptions

from ...conftest import REPOSITORY, TINY_SOURCE

# A correct float16 plan differs from ONNX Runtime's float16 by rounding; the limit is that of the gate.
MIN_PSNR_DB = 35.0
SEEDS = range(8)
RUNS = 1000
LEAK_MIB = 8  # what the driver and the allocator may allocate while they warm up


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt-rtx"])
def backend(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    probe = installed_backends()[name].probe()
    if not probe.usable:
        pytest.skip(f"{name}: {probe.detail}")
    return name


@pytest.fixture(scope="module", params=["sg2ada_64", "sg3r_64"])
def model(backend: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Requests the backend first, so that nothing is exported if all tests are skipped."""
    checkpoint = read_checkpoint(REPOSITORY / "tests" / "fixtures" / f"{request.param}.pkl")
    variants = [VariantOptions(p, linear=l) for l in ("gemm", "conv1x1") for p in ("fp16", "fp32")]  # noqa: E741
    out = tmp_path_factory.mktemp("gpu") / "model"
    return export_checkpoint(checkpoint, out, name="model", source=TINY_SOURCE, variants=variants)


def open_session(model: Artifact, backend: str, **options: object) -> TensorRtSession:
    session = installed_backends()[backend].session(model, SessionOptions(device="auto", **options))  # type: ignore[arg-type]
    assert isinstance(session, TensorRtSession)
    return session


@pytest.fixture(params=[False, True], ids=["launches", "graphs"])
def session(model: Artifact, backend: str, request: pytest.FixtureRequest) -> Iterator[TensorRtSession]:
    with open_session(model, backend, cuda_graphs=request.param) as session:
        yield session


def batch_of(model: Artifact, session: Session) -> Batch:
    return LatentPipeline(model, session.variant, load_mapping).batch(Seeds(list(SEEDS)), PictureOptions())


def render(session: Session, batch: Batch) -> np.ndarray:
    return session.submit(batch).result().images


@pytest.mark.gpu
def test_images_match_those_of_onnx_runtime(model: Artifact, session: TensorRtSession) -> None:
    batch = batch_of(model, session)
    with OnnxRuntimeSession(model, session.variant, SessionOptions(device="cpu")) as reference:
        assert psnr_db(render(session, batch), render(reference, batch)) > MIN_PSNR_DB


@pytest.mark.gpu
def test_an_image_depends_on_its_batch_only_by_rounding(model: Artifact, session: TensorRtSession) -> None:
    batch = batch_of(model, session)
    whole = render(session, batch)
    np.testing.assert_array_equal(render(session, batch), whole)  # the same batch: the same bytes
    alone = np.concatenate([render(session, batch[i : i + 1]) for i in range(len(batch))])
    padded = np.concatenate([render(session, batch[i : i + 3]) for i in range(0, len(batch), 3)])
    for other in (alone, padded):  # kernels of other sizes round differently
        assert psnr_db(other, whole) > MIN_PSNR_DB


@pytest.mark.gpu
def test_deterministic_images_have_the_same_bytes_in_any_batch(model: Artifact, backend: str) -> None:
    with open_session(model, backend, deterministic=True, max_batch_size=4) as session:
        batch = batch_of(model, session)
        whole = np.concatenate([render(session, batch[:4]), render(session, batch[4:])])
        alone = np.concatenate([render(session, batch[i : i + 1]) for i in range(len(batch))])
    np.testing.assert_array_equal(alone, whole)


@pytest.mark.gpu
def test_cuda_graphs_give_the_same_bytes_as_launches(model: Artifact, backend: str) -> None:
    found = []
    for graphs in (False, True):
        with open_session(model, backend, cuda_graphs=graphs) as session:
            found.append(render(session, batch_of(model, session)))
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.gpu
def test_a_thousand_runs_do_not_leak_memory(model: Artifact, session: TensorRtSession) -> None:
    from cuda.bindings import runtime

    batch = batch_of(model, session)
    render(session, batch)
    _, free, _ = runtime.cudaMemGetInfo()
    for _ in range(RUNS):
        render(session, batch)
    _, after, _ = runtime.cudaMemGetInfo()
    assert (free - after) / (1 << 20) < LEAK_MIB


@pytest.mark.gpu
def test_two_sessions_with_two_batches_each_run_at_once(model: Artifact, backend: str) -> None:
    with open_session(model, backend) as one, open_session(model, backend) as other:
        batch = batch_of(model, one)
        expected = render(one, batch)
        with ThreadPoolExecutor(4) as pool:
            for images in pool.map(lambda number: render((one, other)[number % 2], batch), range(100)):
                np.testing.assert_array_equal(images, expected)


@pytest.mark.gpu
def test_a_plan_for_another_gpu_is_rejected_by_name(model: Artifact, backend: str, tmp_path: Path) -> None:
    session = open_session(model, backend)
    plan = session.plan
    wrong = msgspec.structs.replace(plan.record.spec, sms=(999,), gpu=None)
    PlanFolder(tmp_path / "plans").put("other", plan.read(), msgspec.structs.replace(plan.record, spec=wrong))
    with pytest.raises(PlanError, match=r"has no plan of .* other.plan: for sm999"):
        open_session(model, backend, plans=str(tmp_path / "plans"))


@pytest.mark.gpu
def test_a_plan_built_for_another_gpu_does_not_load(model: Artifact, backend: str) -> None:
    library, gpu = load_library(backend), find_driver().gpus[0]
    if not library.targets:
        pytest.skip(f"{backend} only builds for the GPU of this machine")
    other = next(sm for sm in (120, 80) if sm // 10 != gpu.sm // 10)
    variant = plan_variant(model, backend, (other,))
    spec = PlanRequest(library, model, variant, (1,), sms=(other,)).spec
    plan = build_plan(library, model.read(variant.file), spec).data
    with pytest.raises(PlanError, match="cannot load the plan"):
        PlanRuntime(library, plan, spec, ordinal=0, batch_sizes=(1,))


@pytest.mark.gpu
def test_a_damaged_plan_does_not_load(model: Artifact, backend: str) -> None:
    session = open_session(model, backend)
    spec = session.plan.record.spec
    data = bytearray(session.plan.read())
    data[: len(data) // 2] = bytes(len(data) // 2)
    with pytest.raises(PlanError, match="cannot load the plan"):
        PlanRuntime(load_library(backend), bytes(data), spec, ordinal=0, batch_sizes=spec.batch_sizes)


@pytest.mark.gpu
def test_the_gate_compared_the_plan(model: Artifact, backend: str) -> None:
    numerics = open_session(model, backend).plan.record.numerics
    assert find_driver().usable
    assert numerics.status == "compared"
    assert numerics.psnr_db is not None
    assert numerics.psnr_db > MIN_PSNR_DB
