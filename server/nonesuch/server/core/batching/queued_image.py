"""One image in the queue: it asks for a place, gets its inputs, joins a batch, and is answered.

ASKING -> PLACED -> READY -> TAKEN

Before TAKEN it can become GONE at any time: refused, cancelled, too late, or because the device is lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.errors import DeviceLostError, NonesuchError, UnavailableError
from nonesuch.engine.session import Batch

from .request_queue import Priority


@dataclass(frozen=True)
class Rendered:
    """One image uint8 [H, W, C], its batch and its timing."""

    image: NDArray[np.uint8]
    batch_size: int
    padded_size: int
    queue_ms: float  # from admission until the batch was submitted
    inference_ms: float


class Stage(Enum):
    """The stage of an image."""

    ASKING = auto()  # for a place; only images of streams stay here
    PLACED = auto()  # it holds a place, and its inputs are being computed
    READY = auto()  # it waits for its batch
    TAKEN = auto()  # it is in a batch; its place is free
    GONE = auto()


@dataclass(eq=False)
class QueuedImage:
    """An image from its admission to its answer. Leaving the `with` block releases its place, if any.

    Attributes:
        priority: its priority.
        deadline: `time.monotonic()` after which it is no longer needed; None for no deadline.
        streamed: True for all but the first image of a stream: it waits for a place instead of being refused.
        changed: called when the image's caller changes its stage.
        admitted: `time.monotonic()` when it got its place.
        batch: its inputs, a batch of one; set from READY on.
    """

    priority: Priority
    deadline: float | None = None
    streamed: bool = False
    changed: Callable[[QueuedImage, Stage], None] = lambda image, stage: None
    stage: Stage = Stage.ASKING
    admitted: float = field(default_factory=time.monotonic)
    batch: Batch | None = None
    _answer: asyncio.Future[Rendered] | None = None

    @property
    def answered(self) -> bool:
        """Whether it has its image or error, or is cancelled."""
        return self._answer is not None and self._answer.done()

    async def render(self, batch: Batch) -> Rendered:
        """Render a batch of one image. Cancelling the caller does not affect other images.

        Raises:
            DeadlineError: the deadline passed in the queue, or would have during the run.
            BackendError: the run failed.
            UnavailableError: the device is lost.
        """
        if self.stage is not Stage.PLACED:
            raise RuntimeError(f"an image can be rendered once, while it holds a place; this one is {self.stage.name}")
        self.batch = batch
        self._answer = asyncio.get_running_loop().create_future()
        self.changed(self, Stage.READY)
        try:
            return await self._answer
        finally:
            self.leave()

    def leave(self) -> None:
        """Release the place, if it is held; a second call does nothing."""
        if self.stage in {Stage.ASKING, Stage.PLACED, Stage.READY}:
            self.changed(self, Stage.GONE)

    def succeed(self, rendered: Rendered) -> None:
        """Answer with the image, if it is not answered yet."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(rendered)

    def fail(self, error: NonesuchError) -> None:
        """Answer with an error, if it is not answered yet."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


def shutting_down() -> UnavailableError:
    """The error of a server that drains."""
    return UnavailableError("the server is shutting down; call another one, or this one after its restart")


def device_lost(error: DeviceLostError) -> UnavailableError:
    """The error after the loss of the device."""
    return UnavailableError(f"the server has lost its device ({error.message}); call another one")
