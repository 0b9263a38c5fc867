"""A session on FAKES of TensorRT and CUDA: batches, padding, two in flight, and a lost device."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.cuda_driver import Gpu
from nonesuch.engine.errors import BackendError, DeviceLostError, InvalidRequestError, PlanError
from nonesuch.engine.session import Batch, SessionOptions
from nonesuch.engine.tensorrt.backend import plan_variant
from nonesuch.engine.tensorrt.batch_profile import make_profiles
from nonesuch.engine.tensorrt.build_spec import BuildSpec
from nonesuch.engine.tensorrt.library import FLAVOURS, Library
from nonesuch.engine.tensorrt.plan_folder import PlanFolder
from nonesuch.engine.tensorrt.session import TensorRtSession

from .conftest import make_record, make_spec
from .fake_cuda import FakeCore
from .fake_tensorrt import FakeTensorRt, colour

SIZES = (1, 2, 4)
GPU = Gpu(0, "a fake GPU", 86, 1)


class Bench:
    """A session on the fakes."""

    def __init__(self, artifact: Artifact, folder: Path, core: FakeCore) -> None:
        self.core, self.artifact = core, artifact
        self.variant = plan_variant(artifact, "tensorrt-rtx")
        self.trt = FakeTensorRt("tensorrt-rtx-1.7", make_spec())
        library = Library(FLAVOURS["tensorrt-rtx"], self.trt)
        self.spec = BuildSpec.of(library, artifact, self.variant, batch_sizes=SIZES, profiles=make_profiles(SIZES))
        self.trt = FakeTensorRt("tensorrt-rtx-1.7", self.spec)
        self.library = Library(FLAVOURS["tensorrt-rtx"], self.trt)
        self.plan = PlanFolder(folder / "plans").put("plan", b"fake plan", make_record(b"fake plan", self.spec))

    def session(self, **options: object) -> TensorRtSession:
        chosen = SessionOptions(device="auto", **{"max_batch_size": 4, **options})  # type: ignore[arg-type]
        return TensorRtSession(self.artifact, self.variant, chosen, library=self.library, plan=self.plan, gpu=GPU)

    def batch(self, seed: int, size: int) -> Batch:
        manifest = self.artifact.manifest
        ws = np.random.RandomState(seed).randn(size, manifest.num_ws, manifest.w_dim)
        return Batch(ws.astype(np.float32))


@pytest.fixture
def bench(artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    core = FakeCore()
    monkeypatch.setitem(sys.modules, "cuda.core", core)
    yield Bench(artifact, tmp_path, core)
    assert {kind: count for kind, count in core.world.live.items() if count} == {}


def check(images: NDArray[np.uint8], batch: Batch) -> None:
    assert len(images) == len(batch)
    np.testing.assert_array_equal(images[:, 0, 0, 0], colour(batch.ws))


@pytest.mark.parametrize("graphs", [False, True])
def test_batches_in_flight_return_their_own_images(bench: Bench, graphs: bool) -> None:
    with bench.session(cuda_graphs=graphs) as session:
        batches = [bench.batch(seed, 1 + seed % 4) for seed in range(60)]
        futures = [session.submit(batch) for batch in batches]
        for batch, future in zip(batches, futures, strict=True):
            result = future.result()
            check(result.images, batch)
            assert result.batch_size == {1: 1, 2: 2, 3: 4, 4: 4}[len(batch)]
            assert result.inference_ms >= 0


def test_a_batch_larger_than_the_plan_is_rejected_before_it_reaches_the_device(bench: Bench) -> None:
    with bench.session(max_batch_size=8) as session:
        with pytest.raises(InvalidRequestError, match="this session takes \\[1 to 4, "):
            session.submit(bench.batch(0, 5))
        check(session.submit(bench.batch(1, 4)).result().images, bench.batch(1, 4))


def test_closing_waits_for_submitted_batches(bench: Bench) -> None:
    session = bench.session()
    session.open()
    batch = bench.batch(0, 2)
    futures = [session.submit(batch) for _ in range(2)]
    session.close()
    for future in futures:
        check(future.result().images, batch)
    with pytest.raises(BackendError, match="closed"):
        session.submit(batch)
    session.open()  # a second time
    check(session.submit(batch).result().images, batch)
    session.close()


def test_an_altered_plan_never_reaches_the_library(bench: Bench) -> None:
    bench.plan.path.write_bytes(b"evil plan")
    session = bench.session()
    with pytest.raises(PlanError, match="is not the plan that was built"):
        session.open()
    assert not bench.trt.contexts


def test_a_lost_device_fails_every_batch(bench: Bench) -> None:
    session = bench.session()
    session.open()
    bench.core.world.broken = "CUDA_ERROR_LAUNCH_FAILED"
    for future in [session.submit(bench.batch(seed, 1)) for seed in range(4)]:
        with pytest.raises(DeviceLostError, match="CUDA_ERROR_LAUNCH_FAILED"):
            future.result()
    bench.core.world.broken = ""
    session.close()
