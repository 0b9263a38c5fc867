from __future__ import annotations

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from nonesuch.engine.lanes import ImageRunner, Lanes
from nonesuch.engine.session import Batch

SHAPE = (2, 2, 3)
PATIENCE_S = 20.0


def numbers(count: int) -> Batch:
    """A batch whose rows are 0, 1, 2 ..."""
    return Batch(np.arange(count, dtype=np.float32).reshape(count, 1, 1))


def writer(used: list[str], name: str) -> ImageRunner:
    """A runner that fills the image with the row's number and records its use."""

    def run(batch: Batch, image: NDArray[np.uint8]) -> None:
        assert len(batch) == 1
        assert image.shape == (1, *SHAPE)
        used.append(name)
        image[...] = int(batch.ws[0, 0, 0])

    return run


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("lanes", [0, 1, 2, 3])
def test_every_image_lands_in_its_place(count: int, lanes: int) -> None:
    used: list[str] = []
    under_test = Lanes(writer(used, "wide"), [writer(used, "narrow") for _ in range(lanes)])
    images = under_test.render(numbers(count), SHAPE)
    under_test.close()
    assert images.shape == (count, *SHAPE)
    assert (images == np.arange(count, dtype=np.uint8)[:, None, None, None]).all()
    side_by_side = count // lanes * lanes if lanes > 1 else 0
    assert (used.count("narrow"), used.count("wide")) == (side_by_side, count - side_by_side)


def test_lanes_run_at_the_same_time() -> None:
    barrier = threading.Barrier(2)

    def meet(batch: Batch, image: NDArray[np.uint8]) -> None:
        barrier.wait(PATIENCE_S)  # breaks, and fails the test, unless both arrive
        image[...] = 1

    lanes = Lanes(meet, [meet, meet])
    assert (lanes.render(numbers(2), SHAPE) == 1).all()
    lanes.close()


def test_the_error_of_a_lane_is_raised_after_the_others_have_finished() -> None:
    ended: list[int] = []
    begun = threading.Event()

    def fails(batch: Batch, image: NDArray[np.uint8]) -> None:
        begun.set()
        raise RuntimeError("the lane broke")

    def waits(batch: Batch, image: NDArray[np.uint8]) -> None:
        assert begun.wait(PATIENCE_S)
        ended.append(1)

    lanes = Lanes(waits, [fails, waits])
    with pytest.raises(RuntimeError, match="the lane broke"):
        lanes.render(numbers(2), SHAPE)
    assert ended == [1]
    lanes.close()
