from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.errors import BackendError
from nonesuch.engine.tensorrt.build_progress import BuildProgress
from nonesuch.engine.tensorrt.library import Library
from nonesuch.engine.tensorrt.plan_builder import build_plan
from nonesuch.engine.tensorrt.plan_request import PlanRequest


def test_steps_of_one_phase_are_shares_of_it() -> None:
    shares: list[float] = []
    progress = BuildProgress(shares.append)
    progress.start("building", None, 4)
    for step in range(4):
        progress.step("building", step)
    progress.finish("building")
    assert shares == [0.25, 0.5, 0.75, 1.0]


def test_an_inner_phase_is_a_part_of_its_outer_step() -> None:
    shares: list[float] = []
    progress = BuildProgress(shares.append)
    progress.start("building", None, 2)
    progress.start("optimizing", "building", 2)
    progress.start("fusing", "optimizing", 2)
    progress.step("fusing", 0)
    progress.step("fusing", 1)
    progress.finish("fusing")
    progress.step("optimizing", 0)
    progress.step("optimizing", 1)
    progress.finish("optimizing")
    progress.step("building", 0)
    progress.start("timing", "building", 4)
    progress.step("timing", 0)
    assert shares == [0.125, 0.25, 0.25, 0.5, 0.5, 0.625]


def test_the_share_never_decreases() -> None:
    shares: list[float] = []
    progress = BuildProgress(shares.append)
    progress.start("building", None, 10)
    progress.step("building", 7)
    progress.start("another round", "building", 4)  # phases may be announced late, or twice
    progress.step("building", 2)
    progress.step("another round", 0)
    progress.start("building", None, 10)
    progress.step("building", 0)
    assert shares == sorted(shares)
    assert shares[0] == shares[-1] == 0.8


@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_phases_with_too_few_steps_do_not_exceed_the_whole(steps: int) -> None:
    shares: list[float] = []
    progress = BuildProgress(shares.append)
    progress.start("empty", None, steps)
    for step in range(5):
        progress.step("empty", step)
    assert shares == [1.0] * 5


def test_an_unknown_phase_is_ignored() -> None:
    shares: list[float] = []
    progress = BuildProgress(shares.append)
    progress.step("unknown", 3)
    progress.finish("unknown")
    progress.start("inside", "unknown", 2)
    progress.step("inside", 0)
    assert shares == [0.5]


def test_cancelling_is_seen_from_other_threads() -> None:
    progress = BuildProgress()
    assert not progress.cancelled
    thread = threading.Thread(target=progress.cancel)
    thread.start()
    thread.join(timeout=30)
    assert progress.cancelled


def test_threads_report_shares_in_order() -> None:
    shares: list[float] = []
    progress, threads, steps = BuildProgress(shares.append), 4, 500
    progress.start("building", None, steps)

    def walk(first: int) -> None:
        for step in range(first, steps, threads):
            progress.step("building", step)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(walk, range(threads)))
    assert len(shares) == steps
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_real_build_reports_shares_that_grow(artifact: Artifact, rtx: Library) -> None:
    shares: list[float] = []
    request = PlanRequest(rtx, artifact, artifact.variant("onnxruntime"), (1,))
    build_plan(rtx, artifact.read(request.variant.file), request.spec, BuildProgress(shares.append))
    assert shares == sorted(shares)
    assert len(set(shares)) > 10
    # The phases depend on the library; the test only requires that they cover most of the build.
    assert 0.5 < shares[-1] <= 1.0
    assert shares[0] < 0.1


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_a_real_build_ends_at_the_step_where_it_is_cancelled(artifact: Artifact, rtx: Library, share: float) -> None:
    seen: list[float] = []

    def report(done: float) -> None:
        seen.append(done)
        if done >= share:
            progress.cancel()

    progress = BuildProgress(report)
    request = PlanRequest(rtx, artifact, artifact.variant("onnxruntime"), (1,))
    graph = artifact.read(request.variant.file)
    with pytest.raises(BackendError, match=r"the build of synthesis\.onnx was cancelled"):
        build_plan(rtx, graph, request.spec, progress)
    whole: list[float] = []
    build_plan(rtx, graph, request.spec, BuildProgress(whole.append))  # the next build is not cancelled
    assert len(seen) < len(whole)
