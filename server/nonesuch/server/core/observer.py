"""What the core tells whoever watches it: metrics, traces and logs. The core knows none of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from nonesuch.engine.errors import NonesuchError

from .image_request import MadeImage

__all__ = ["LoadReport", "Observer", "QueueGauge"]


class QueueGauge(Protocol):
    """A queue as a gauge reads it, at any time."""

    @property
    def waiting(self) -> int:
        """Images that wait."""
        ...

    @property
    def in_flight(self) -> int:
        """Batches on the device."""
        ...


@dataclass(frozen=True)
class LoadReport:
    """What is known of a model when it has been loaded."""

    model: str
    backend: str
    reason: str  # why that backend
    batch_target: int
    run_ms: Mapping[int, float]  # by batch size
    memory_mib: float
    elapsed_s: float


class Observer(Protocol):
    """Is told of everything on the event loop; must neither block nor raise. A subclass overrides what it wants."""

    def queue_opened(self, model: str, queue: QueueGauge) -> None:
        """A model has a queue; it may be another one of the same name, which is about to be replaced."""

    def queue_closed(self, queue: QueueGauge) -> None:
        """The queue is empty, and stays so."""

    def model_loaded(self, report: LoadReport) -> None:
        """A model is on its device."""

    def model_unloaded(self, model: str) -> None:
        """A model is off its device."""

    def making_room(self, model: str, wanted: str) -> None:
        """An idle model is about to be unloaded for one that is wanted."""

    def load_failed(self, model: str, error: NonesuchError) -> None:
        """A model that a request wanted cannot be loaded."""

    def batch_ran(self, model: str, images: int, run_ms: float) -> None:
        """A batch was rendered."""

    def image_made(self, made: MadeImage) -> None:
        """An image was made for a request; not from the cache. Called in the task of the request."""
