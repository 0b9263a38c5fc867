"""How large a batch pays on this machine, measured before the server takes calls.

On a GPU a batch of 8 costs little more than one image; on a CPU it costs eight. A batch that saves nothing per image
only makes its first member wait, so it stops growing where doubling it stops paying.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nonesuch.engine.errors import DeviceLostError
from nonesuch.engine.session import Batch, Session

__all__ = ["BatchGrowth", "measure_growth"]

MAX_RUNS = 3
MIN_RUNS = 2  # the first run of a size pays for its memory
ENOUGH_MS = 500.0


@dataclass(frozen=True)
class BatchGrowth:
    """The measured time of a batch by its size, and the size at which batches stop growing."""

    run_ms: dict[int, float]
    target_size: int

    @property
    def image_ms(self) -> float:
        """Time per image at the target size."""
        return self.run_ms[self.target_size] / self.target_size


def measure_growth(
    session: Session, make_batch: Callable[[int], Batch], min_gain: float, *, timeout_s: float | None = None
) -> BatchGrowth:
    """Warm the session up and double the batch while that saves at least `min_gain` of the time per image.

    Blocks for a few runs; `make_batch` makes a batch of a size. With `min_gain` 0 the target is the session's largest.
    Every size up to the target has run in the end.

    Raises:
        BackendError: a run failed.
        DeviceLostError: one took longer than `timeout_s`.
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
    """Of the sizes that a run may have, the first, each that at least doubles the one before, and the last."""
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
