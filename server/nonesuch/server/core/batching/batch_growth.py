"""Measures up to which size larger batches pay on this machine, before the server accepts calls.

On a GPU a batch of 8 costs little more than one image; on a CPU it costs eight times as much. A batch that saves no
time per image only delays its first member, so batches stop growing where doubling stops to pay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nonesuch.engine.errors import DeviceLostError
from nonesuch.engine.session import Batch, Session

MAX_RUNS = 3
MIN_RUNS = 2  # the first run of a size includes its allocations
ENOUGH_MS = 500.0


@dataclass(frozen=True)
class BatchGrowth:
    """The measured run times by batch size, and the target size of batches."""

    run_ms: dict[int, float]
    target_size: int

    @property
    def image_ms(self) -> float:
        """Time per image at the target size."""
        return self.run_ms[self.target_size] / self.target_size


def measure_growth(
    session: Session, make_batch: Callable[[int], Batch], min_gain: float, *, timeout_s: float | None = None
) -> BatchGrowth:
    """Warm up the session and double the batch while that saves at least `min_gain` of the time per image.

    Blocks for a few runs; `make_batch` makes a batch of a size. With `min_gain` 0 the target is the max size. Every
    size up to the target is run at least once.

    Raises:
        BackendError: a run failed.
        DeviceLostError: a run took longer than `timeout_s`.
    """
    sizes = _doubling(session.batch_sizes)
    run_ms: dict[int, float] = {}
    target = sizes[0]
    for size in sizes:
        run_ms[size] = _fastest_run_ms(session, make_batch(size), timeout_s)
        if size == target:
            continue
        gain = 1 - (run_ms[size] / size) / (run_ms[target] / target)
        if min_gain > 0 and gain < min_gain:
            break
        target = size
    for size in session.batch_sizes:
        if size < target and size not in run_ms:
            _run_ms(session, make_batch(size), timeout_s)
    return BatchGrowth(run_ms, target)


def _doubling(batch_sizes: Sequence[int]) -> list[int]:
    """The first size, each size that at least doubles the previous one, and the last."""
    sizes = [batch_sizes[0]]
    for size in batch_sizes[1:]:
        if size >= 2 * sizes[-1] or size == batch_sizes[-1]:
            sizes.append(size)
    return sizes


def _fastest_run_ms(session: Session, batch: Batch, timeout_s: float | None) -> float:
    times: list[float] = []
    while len(times) < MIN_RUNS or (len(times) < MAX_RUNS and sum(times) < ENOUGH_MS):
        times.append(_run_ms(session, batch, timeout_s))
    return min(times)


def _run_ms(session: Session, batch: Batch, timeout_s: float | None) -> float:
    try:
        return session.submit(batch).result(timeout_s).inference_ms
    except TimeoutError as error:
        raise DeviceLostError(
            f"{session.identity} hangs: a batch of {len(batch)} has not come back in {timeout_s:g} s"
        ) from error
