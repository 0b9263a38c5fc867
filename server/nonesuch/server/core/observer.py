"""Events of the core for metrics, traces and logs, so that the core imports none of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from nonesuch.engine.errors import NonesuchError

from .image_request import MadeImage


class QueueGauge(Protocol):
    """The readings of a queue."""

    @property
    def waiting(self) -> int:
        """Images in the queue."""
        ...

    @property
    def in_flight(self) -> int:
        """Batches on the device."""
        ...


@dataclass(frozen=True)
class LoadReport:
    """The result of loading a model."""

    model: str
    backend: str
    reason: str  # for the choice of the backend
    batch_target: int
    run_ms: Mapping[int, float]  # by batch size
    memory_mib: float
    elapsed_s: float


class Observer(Protocol):
    """Receives the events, on the event loop; must neither block nor raise. Every method does nothing by default."""

    def queue_opened(self, model: str, queue: QueueGauge) -> None:
        """A model has a queue. During a reload, two queues have the same model name."""

    def queue_closed(self, queue: QueueGauge) -> None:
        """A queue is closed and empty."""

    def model_loaded(self, report: LoadReport) -> None:
        """A model was loaded."""

    def model_unloaded(self, model: str) -> None:
        """A model was unloaded."""

    def model_evicted(self, model: str, wanted: str) -> None:
        """An idle model is unloaded to make room for the model `wanted`."""

    def load_failed(self, model: str, error: NonesuchError) -> None:
        """Loading a model on demand failed."""

    def batch_ran(self, model: str, images: int, run_ms: float) -> None:
        """A batch was rendered."""

    def image_made(self, made: MadeImage) -> None:
        """An image was rendered, not taken from the cache. Called in the task of its request."""
