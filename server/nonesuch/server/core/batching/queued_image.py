"""One image on its way through the queue: it asks for a place, gets its inputs, is put into a batch, and is answered.

ASKING -> PLACED -> READY -> TAKEN

Before TAKEN it may be GONE at any time: refused, given up by its caller, too late, or because the device is lost.
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

__all__ = ["QueuedImage", "Rendered", "Stage", "device_lost", "shutting_down"]


@dataclass(frozen=True)
class Rendered:
    """One image uint8 [H, W, C] and what it took."""

    image: NDArray[np.uint8]
    batch_size: int
    padded_size: int
    queue_ms: float  # from admission until the batch was given to the session
    inference_ms: float


class Stage(Enum):
    """How far an image has come."""

    ASKING = auto()  # for a place; only images of a stream stay here
    PLACED = auto()  # it holds a place, and its inputs are being computed
    READY = auto()  # it waits for its batch
    TAKEN = auto()  # it is in a batch; its place is free
    GONE = auto()


@dataclass(eq=False)
class QueuedImage:
    """An image from its admission to its answer. Leaving the `with` block gives its place back if it still has one.

    Attributes:
        priority: its class.
        deadline: `time.monotonic()` after which it is of no use; None is never.
        streamed: whether it is of a stream, behind its first image: it waits for a place instead of being refused.
        changed: is told of every change of the stage that the caller makes.
        admitted: `time.monotonic()` when it got its place.
        batch: its inputs, a batch of one; there from READY on.
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
        """Whether it needs nothing more: it has its image or its error, or its caller is gone."""
        return self._answer is not None and self._answer.done()

    async def render(self, batch: Batch) -> Rendered:
        """Render a batch of one image; a cancelled caller costs nothing and harms nobody.

        Raises:
            DeadlineError: the deadline passed, or was certain to, before the image's batch was formed.
            BackendError: the run failed.
            UnavailableError: the device is lost.
        """
        if self.stage is not Stage.PLACED:
            raise RuntimeError(f"an image is rendered once, while it holds a place; this one is {self.stage.name}")
        self.batch = batch
        self._answer = asyncio.get_running_loop().create_future()
        self.changed(self, Stage.READY)
        try:
            return await self._answer
        finally:
            self.leave()

    def leave(self) -> None:
        """Give the place back if it is still held; a second call does nothing."""
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
    """The server drains."""
    return UnavailableError("the server is shutting down; call another one, or this one after its restart")


def device_lost(error: DeviceLostError) -> UnavailableError:
    """The device hangs or is gone."""
    return UnavailableError(f"the server has lost its device ({error.message}); call another one")
