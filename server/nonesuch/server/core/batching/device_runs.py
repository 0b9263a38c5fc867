"""Runs batches on a session, delivers the images, isolates failures and detects a device that hangs.

A batch that fails is run again in halves, so that only the image that causes the failure gets the error.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nonesuch.engine.errors import BackendError, DeviceLostError, NonesuchError
from nonesuch.engine.session import Batch, BatchResult, Session

from .latency_model import LatencyModel
from .queued_image import QueuedImage, Rendered, device_lost

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
        on_run: Callable[[int, float], None],
        on_lost: Callable[[DeviceLostError], None],
    ) -> None:
        """Create the runs of an open session.

        Args:
            session: the session.
            timeout_s: the device hangs if a run takes longer.
            model: predicts run times, and learns from each successful run.
            on_run: called after a run with its number of images and its duration on the device in milliseconds.
            on_lost: called at most once.
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
        """Whether the session accepts another batch."""
        return self.in_flight < self._session.max_in_flight

    @property
    def idle_s(self) -> float:
        """Seconds since the last run; 0 during a run."""
        return 0.0 if self._runs else time.monotonic() - self._idle_since

    def remaining_ms(self) -> float:
        """The predicted remaining time of the runs in flight, which the device does one after another."""
        expected = [self._model.run_ms(run.size) for run in self._runs]
        if not expected:
            return 0.0
        began = max(next(iter(self._runs)).started, self._last_result)  # the other runs have not begun
        return max(0.0, expected[0] - (time.monotonic() - began) * 1e3) + sum(expected[1:])

    def start(self, images: Sequence[QueuedImage]) -> asyncio.Task[None]:
        """Run a batch; each image is answered when the task ends. The task never raises."""
        size = next((size for size in self._session.batch_sizes if size >= len(images)), len(images))
        run = _Run(size, time.monotonic())
        # Submitted now, not in the task's first step, so that the device does not wait for the event loop.
        running = self._submit(images)
        task = self._runs[run] = asyncio.get_running_loop().create_task(self._run_batch(run, images, running))
        return task

    async def _run_batch(self, run: _Run, images: Sequence[QueuedImage], running: _Running) -> None:
        try:
            await self._finish(images, running, run.started)
        finally:
            # In the same step as the answers, so that the device is free when a caller has its answer.
            del self._runs[run]
            self._idle_since = time.monotonic()

    async def _rerun(self, images: Sequence[QueuedImage], started: float) -> None:
        """Run half of a failed batch; never raises."""
        images = [image for image in images if not image.answered]
        if images:
            await self._finish(images, self._submit(images), started)

    async def _finish(self, images: Sequence[QueuedImage], running: _Running, started: float) -> None:
        """Answer a submitted batch, or run it again in halves; never raises."""
        handed = time.monotonic()
        try:
            result = await self._result(running, len(images))
        except DeviceLostError as error:
            self._mark_lost(error, images)
        except Exception as error:
            if self.lost is not None:
                self._mark_lost(self.lost, images)
            elif len(images) == 1:
                ours = isinstance(error, NonesuchError)
                images[0].fail(error if ours else BackendError(f"a batch failed: {error}"))  # type: ignore[arg-type]
            else:
                middle = len(images) // 2
                await self._rerun(images[:middle], started)
                await self._rerun(images[middle:], started)
        else:
            # Of two runs in flight the second waits for the first, so its own time begins at the first's end.
            now, since = time.monotonic(), max(handed, self._last_result)
            self._last_result = now
            # Includes the way to the device's thread and back, because the next batch waits for that too.
            self._model.observe(result.batch_size, (now - since) * 1e3)
            self._on_run(len(images), result.inference_ms)
            _deliver(images, result, started)

    def _submit(self, images: Sequence[QueuedImage]) -> _Running:
        """Submit a batch to the session; the future also gets the error of a failed submission."""
        try:
            if self.lost is not None:
                raise self.lost
            return asyncio.wrap_future(
                self._session.submit(Batch.join([image.batch for image in images if image.batch]))
            )
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

    def _mark_lost(self, error: DeviceLostError, images: Sequence[QueuedImage]) -> None:
        for image in images:
            image.fail(device_lost(error))
        if self.lost is None:
            self.lost = error
            self._on_lost(error)


def _deliver(images: Sequence[QueuedImage], result: BatchResult, started: float) -> None:
    for image, pixels in zip(images, result.images, strict=True):
        queue_ms = (started - image.admitted) * 1e3
        image.succeed(Rendered(pixels, len(images), result.batch_size, queue_ms, result.inference_ms))
