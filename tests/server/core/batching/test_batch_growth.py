from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.errors import DeviceLostError
from nonesuch.engine.session import Batch, SessionOptions
from nonesuch.server.core.batching.batch_growth import measure_growth

from ...conftest import PacedSession


def batch(size: int) -> Batch:
    return Batch(np.zeros((size, 8, 12), dtype=np.float32))


def test_a_batch_stops_growing_when_it_saves_nothing_per_image(paced: Callable[..., PacedSession]) -> None:
    with paced(max_batch_size=8, image_ms=5) as session:  # every image costs the same: no gain
        growth = measure_growth(session, batch, 0.1)
    assert growth.target_size == 1
    assert sorted(growth.run_ms) == [1, 2]


def test_without_a_threshold_every_size_is_warmed_up_and_the_largest_is_the_target(
    paced: Callable[..., PacedSession],
) -> None:
    with paced(max_batch_size=6, image_ms=1) as session:
        growth = measure_growth(session, batch, 0.0)
    assert growth.target_size == 6
    assert sorted(growth.run_ms) == [1, 2, 4, 6]


def test_a_fixed_cost_per_run_lets_batches_grow(artifact: Artifact) -> None:
    class Fixed(PacedSession):
        def _run(self, batch):  # type: ignore[no-untyped-def]
            self.image_ms = 20 / len(batch.ws)  # 20 ms a run, whatever its size
            return super()._run(batch)

    with Fixed(artifact, SessionOptions(max_batch_size=8)) as session:
        assert measure_growth(session, batch, 0.1).target_size == 8


def test_a_device_that_hangs_during_warm_up_is_lost(paced: Callable[..., PacedSession]) -> None:
    session = paced()
    session.gate.clear()
    with pytest.raises(DeviceLostError, match=r"a paced test session hangs: a batch of 1 has not come back in 0\.05 s"):
        measure_growth(session, batch, 0.1, timeout_s=0.05)
    session.gate.set()
    session.close()
