from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.errors import (
    BackendError,
    DeviceLostError,
    UnavailableError,
)
from nonesuch.engine.session import Batch, SessionOptions
from nonesuch.server.core.batching.batcher import Batcher, BatcherLimits

from ...conftest import PacedSession
from .rendering import render, start


async def test_a_failed_run_fails_only_its_caller_and_the_next_run_works(paced: Callable[..., PacedSession]) -> None:
    session = paced()
    session.failing = lambda ws: bool((ws == 7).any())
    batcher = Batcher(session, BatcherLimits(most=8, min_gain=0, queue_limit=100))
    with pytest.raises(BackendError, match=r"a paced test session failed on synthesis\.onnx: asked to fail"):
        await render(batcher, 7)
    assert int((await render(batcher, 8)).image[0, 0, 0]) == 8
    await batcher.close()
    session.close()


async def test_only_the_request_that_causes_a_failure_fails(paced: Callable[..., PacedSession]) -> None:
    session = paced()
    session.failing = lambda ws: bool((ws == 5).any())
    batcher = Batcher(session, BatcherLimits(most=8, min_gain=0, queue_limit=100))
    session.gate.clear()
    tasks = await start(batcher, 9)
    session.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [r if isinstance(r, BaseException) else int(r.image[0, 0, 0]) for r in results if r is not results[5]] == [
        0, 1, 2, 3, 4, 6, 7, 8,
    ]  # fmt: skip
    assert isinstance(results[5], BackendError)
    assert session.sizes == [1, 8, 4, 4, 2, 1, 1, 2] or session.sizes == [1, 8, 4, 4, 2, 2, 1, 1]
    assert int((await render(batcher, 3)).image[0, 0, 0]) == 3
    await batcher.close()
    session.close()


async def test_a_hanging_device_fails_all_images_once_and_refuses_new_ones(
    paced: Callable[..., PacedSession],
) -> None:
    lost: list[DeviceLostError] = []
    session = paced()
    limits = BatcherLimits(most=2, min_gain=0, queue_limit=100, run_timeout_s=0.05)
    batcher = Batcher(session, limits, on_lost=lost.append)
    session.gate.clear()
    tasks = await start(batcher, 5)
    room = [asyncio.create_task(batcher.admit_when_free()) for _ in range(3)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(r, UnavailableError) and "hangs" in r.message for r in results), results
    assert len(lost) == 1
    assert "has not come back in 0.05 s" in lost[0].message
    for ticket in await asyncio.gather(*room, return_exceptions=True):
        if not isinstance(ticket, BaseException):
            ticket.leave()
    with pytest.raises(UnavailableError, match="lost its device"):
        batcher.admit()
    assert batcher.waiting == 0
    session.gate.set()  # the late result is ignored
    await batcher.close()
    session.close()


async def test_a_device_lost_error_of_the_runtime_marks_the_device_lost(paced: Callable[..., PacedSession]) -> None:
    session = paced()

    def gone(batch: Batch) -> np.ndarray:
        raise DeviceLostError("the bus is empty; look at the cables")

    session._run = gone  # type: ignore[method-assign]
    batcher = Batcher(session, BatcherLimits(most=4, min_gain=0, queue_limit=100))
    with pytest.raises(UnavailableError, match="the bus is empty"):
        await render(batcher, 1)
    assert batcher.lost is not None
    await batcher.close()
    session.close()


class TwoInFlight(PacedSession):
    """Takes two batches, and renders one after the other, as a stream of a GPU does."""

    max_in_flight = 2

    def __init__(self, artifact: Artifact, options: SessionOptions, run_ms: float) -> None:
        super().__init__(artifact, options, run_ms=run_ms)
        self.device = threading.Lock()
        self.took_ms: list[float] = []

    def _run(self, batch: Batch) -> np.ndarray:
        with self.device:
            start = time.perf_counter()
            images = super()._run(batch)
            self.took_ms.append((time.perf_counter() - start) * 1e3)
            return images


async def test_two_runs_in_flight_are_timed_separately(artifact: Artifact) -> None:
    session = TwoInFlight(artifact, SessionOptions(max_batch_size=1), run_ms=30)
    session.open()
    batcher = Batcher(session, BatcherLimits(most=1, min_gain=0, queue_limit=100))
    made = await asyncio.gather(*(render(batcher, level) for level in range(8)))
    assert [int(one.image[0, 0, 0]) for one in made] == list(range(8))
    # Each but the first took two runs from submission to result. The tolerance of half a run is for the threads.
    own_ms = statistics.median(session.took_ms)
    assert batcher.model.run_ms(1) < 1.5 * own_ms
    assert statistics.median(one.inference_ms for one in made) < 1.5 * own_ms
    await batcher.close()
    session.close()
