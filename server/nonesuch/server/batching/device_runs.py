"""Runs batches on a session: delivers to each caller its own image, isolates failures, and notices a device that hangs.

A batch that fails is run again in halves, so that only the request that makes it fail is answered with the failure.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.errors import BackendError, DeviceLostError, NonesuchError
from nonesuch.engine.session import Batch, BatchResult, Session

from ..refusals import device_lost
from .latency_model import LatencyModel
from .request_queue import Priority

__all__ = ["DeviceRuns", "Rendered", "Request"]


@dataclass(frozen=True)
class Rendered:
    """One image uint8 [H, W, C] and what it took."""

    image: NDArray[np.uint8]
    batch_size: int
    padded_size: int
    queue_ms: float  # from admission until the batch was given to the session
    inference_ms: float


@dataclass(eq=False)
class Request:
    """One image that is wanted, and where its caller waits for it."""

    batch: Batch
    admitted: float  # time.monotonic()
    deadline: float | None
    priority: Priority = Priority.INTERACTIVE
    future: asyncio.Future[Rendered] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def answered(self) -> bool:
        """Whether it needs nothing more: it has its image or its error, or its caller is gone."""
        return self.future.done()

    def fail(self, error: NonesuchError) -> None:
        """Answer with an error, if it is not answered yet."""
        if not self.answered:
            self.future.set_exception(error)


_Running = asyncio.Future[BatchResult]


@dataclass(eq=False)
class _Run:
    size: int
    started: float


class DeviceRuns:
    """The runs of one session."""

    def __init__(
        self,
        session: Session,
        timeout_s: float,
        model: LatencyModel,
        on_run: Callable[[BatchResult, int, float], None],
        on_lost: Callable[[DeviceLostError], None],
    ) -> None:
        """Runs on a session that is open.

        Args:
            session: the session.
            timeout_s: a run that takes longer hangs.
            model: predicts what runs take.
            on_run: is told the result, its number of images, and the milliseconds that it took: from handing over, or
                from the result before it, to having it.
            on_lost: is called once, if at all.
        """
        self.lost: DeviceLostError | None = None
        self._session = session
        self._model = model
        self._timeout_s = timeout_s
        self._on_run = on_run
        self._on_lost = on_lost
        self._runs: dict[_Run, asyncio.Task[None]] = {}
        self._idle_since = time.monotonic()
        self._last_result = 0.0

    @property
    def in_flight(self) -> int:
        """Batches that are not answered yet."""
        return len(self._runs)

    @property
    def has_room(self) -> bool:
        """Whether the session takes another batch now."""
        return self.in_flight < self._session.max_in_flight

    @property
    def idle_s(self) -> float:
        """Seconds since the last run; 0 while there is one."""
        return 0.0 if self._runs else time.monotonic() - self._idle_since

    def remaining_ms(self) -> float:
        """What the runs in flight are expected to take still; the device does one after another."""
        expected = [self._model.run_ms(run.size) for run in self._runs]
        if not expected:
            return 0.0
        began = max(next(iter(self._runs)).started, self._last_result)  # the others have not begun
        return max(0.0, expected[0] - (time.monotonic() - began) * 1e3) + sum(expected[1:])

    def start(self, requests: Sequence[Request], done: Callable[[], None]) -> None:
        """Run a batch of requests; each is answered in the end, then `done` is called."""
        size = next((size for size in self._session.batch_sizes if size >= len(requests)), len(requests))
        run = _Run(size, time.monotonic())
        # Handed over now, not in the task's first step: the device need not wait for the event loop.
        running = self._submit(requests)
        self._runs[run] = asyncio.get_running_loop().create_task(self._whole(run, requests, running, done))

    async def _whole(self, run: _Run, requests: Sequence[Request], running: _Running, done: Callable[[], None]) -> None:
        try:
            await self._finish(requests, running, run.started)
        finally:
            # In the same step as the answers, so that whoever has one finds the device free.
            del self._runs[run]
            self._idle_since = time.monotonic()
            done()

    async def _run(self, requests: Sequence[Request], started: float) -> None:
        """Half of a batch that failed; never raises."""
        requests = [request for request in requests if not request.answered]
        if requests:
            await self._finish(requests, self._submit(requests), started)

    async def _finish(self, requests: Sequence[Request], running: _Running, started: float) -> None:
        """Answer a batch that was handed over, or run it again in halves; never raises."""
        handed = time.monotonic()
        try:
            result = await self._result(running, len(requests))
        except DeviceLostError as error:
            self._lose(error, requests)
        except Exception as error:
            if self.lost is not None:
                self._lose(self.lost, requests)
            elif len(requests) == 1:
                ours = isinstance(error, NonesuchError)
                requests[0].fail(error if ours else BackendError(f"a batch failed: {error}"))  # type: ignore[arg-type]
            else:
                middle = len(requests) // 2
                await self._run(requests[:middle], started)
                await self._run(requests[middle:], started)
        else:
            # Of two runs on their way the second waits for the first: its own time begins where that one ended.
            now, since = time.monotonic(), max(handed, self._last_result)
            self._last_result = now
            self._on_run(result, len(requests), (now - since) * 1e3)
            _deliver(requests, result, started)

    def _submit(self, requests: Sequence[Request]) -> _Running:
        """Hand a batch to the session; what it refuses is in the future, as what fails is."""
        try:
            if self.lost is not None:
                raise self.lost
            return asyncio.wrap_future(self._session.submit(Batch.join([request.batch for request in requests])))
        except Exception as error:
            refused: _Running = asyncio.get_running_loop().create_future()
            refused.set_exception(error)
            return refused

    async def _result(self, running: _Running, count: int) -> BatchResult:
        try:
            async with asyncio.timeout(self._timeout_s if math.isfinite(self._timeout_s) else None):
                return await running
        except TimeoutError as error:
            raise DeviceLostError(
                f"{self._session.identity} hangs: a batch of {count} has not come back in {self._timeout_s:g} s"
            ) from error

    def _lose(self, error: DeviceLostError, requests: Sequence[Request]) -> None:
        for request in requests:
            request.fail(device_lost(error))
        if self.lost is None:
            self.lost = error
            self._on_lost(error)


def _deliver(requests: Sequence[Request], result: BatchResult, started: float) -> None:
    for request, image in zip(requests, result.images, strict=True):
        if not request.answered:
            queue_ms = (started - request.admitted) * 1e3
            request.future.set_result(Rendered(image, len(requests), result.batch_size, queue_ms, result.inference_ms))
