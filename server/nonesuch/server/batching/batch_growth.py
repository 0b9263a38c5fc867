"""How large a batch pays on this machine, measured before the server takes calls.

On a GPU a batch of 8 costs little more than one image; on a CPU it costs eight. A batch that saves nothing per image
only makes its first member wait, so it stops growing where doubling it stops paying.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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


def measure_growth(session: Session, make_batch: Callable[[int], Batch], min_gain: float) -> BatchGrowth:
    """Warm the session up and double the batch while that saves at least `min_gain` of the time per image.

    Blocks for a few runs; `make_batch` makes a batch of a size. With `min_gain` 0 every size is warmed up and the
    target is the session's largest.

    Raises:
        BackendError: a run failed.
    """
    sizes = [size for size in (1 << exponent for exponent in range(11)) if size < session.options.max_batch_size]
    sizes.append(session.options.max_batch_size)
    if session.options.deterministic:
        sizes = sizes[-1:]  # every run is padded to this size
    run_ms: dict[int, float] = {}
    target = sizes[0]
    for size in sizes:
        run_ms[size] = _fastest_run_ms(session, make_batch(size))
        if size == target:
            continue
        gain = 1 - (run_ms[size] / size) / (run_ms[target] / target)
        if min_gain > 0 and gain < min_gain:
            break
        target = size
    return BatchGrowth(run_ms, target)


def _fastest_run_ms(session: Session, batch: Batch) -> float:
    times: list[float] = []
    while len(times) < MIN_RUNS or (len(times) < MAX_RUNS and sum(times) < ENOUGH_MS):
        times.append(session.submit(batch).result().inference_ms)
    return min(times)
