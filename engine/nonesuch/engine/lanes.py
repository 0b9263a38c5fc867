"""Renders a batch as single images in parallel, which is faster on a CPU than one large run.

    one image   -> the wide runner, which has all threads
    more images -> one per lane at a time, and the lanes share the threads; the wide runner renders the remainder

On a CPU a batch saves no arithmetic, and its feature maps do not fit into the caches; two images on one core each wait
less than one image on two cores. Every image is its own run, so its bytes cannot depend on its batch.
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
    """Renders batches with one wide runner and any number of narrow runners."""

    def __init__(self, wide: ImageRunner, narrow: Sequence[ImageRunner] = ()) -> None:
        self._wide = wide
        self._narrow = tuple(narrow)
        self._threads = ThreadPoolExecutor(len(narrow), "nonesuch-lane") if len(narrow) > 1 else None

    def render(self, batch: Batch, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
        """Render a batch as uint8 [n, *shape], in a new array.

        Raises the error of a runner after the other lanes of its group have finished.
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
