"""A batch rendered as single images, side by side: what a CPU likes better than one large run.

    one image   -> the wide runner, which has all threads
    more images -> as many at a time as there are lanes, which share the threads; what is left over, the wide runner

On a CPU a batch saves no arithmetic, and its feature maps fall out of the caches; two images on a core each have less
to wait for than one image on two cores. Every image is a run of its own, so its bytes cannot depend on its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from .session import Batch

ImageRunner = Callable[[Batch, NDArray[np.uint8]], None]
"""Renders a batch of one into uint8 [1, H, W, C]; releases the interpreter lock while it computes."""


class Lanes:
    """Renders batches with one wide runner and any number of narrow ones."""

    def __init__(self, wide: ImageRunner, narrow: Sequence[ImageRunner] = ()) -> None:
        self._wide = wide
        self._narrow = tuple(narrow)
        self._threads = ThreadPoolExecutor(len(narrow), "nonesuch-lane") if len(narrow) > 1 else None

    def render(self, batch: Batch, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
        """The images of a batch, uint8 [n, *shape], in the caller's own memory.

        Whatever a runner raises is raised here, after the other lanes of its group have ended.
        """
        images = np.empty((len(batch), *shape), dtype=np.uint8)
        lanes = len(self._narrow)
        done = 0
        while self._threads is not None and len(batch) - done >= lanes:
            group = [
                self._threads.submit(runner, batch[row : row + 1], images[row : row + 1])
                for row, runner in enumerate(self._narrow, start=done)
            ]
            errors = [future.exception() for future in group]
            for error in filter(None, errors):
                raise error
            done += lanes
        for row in range(done, len(batch)):
            self._wide(batch[row : row + 1], images[row : row + 1])
        return images

    def close(self) -> None:
        """End the lanes' threads."""
        if self._threads is not None:
            self._threads.shutdown()
