"""What is measured: something that turns a batch of styles into pictures, and can say how long that took."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.session import Batch

__all__ = ["Subject"]


class Subject(ABC):
    """One way to render a model. Constructing one is cheap; `open` takes the device, `close` gives it back.

    Attributes:
        name: what reports call it, unique within a suite: "openvino", "torch eager, reference form, contiguous".
        device_ms: what the last run took by the device's own clock, without copies to and from it; None where the
            device has no clock of its own.
    """

    name: str
    device_ms: float | None = None

    @property
    @abstractmethod
    def detail(self) -> str:
        """Runtime, version, device and settings in one line; known once the subject is open."""

    @property
    def reduced_precision(self) -> bool:
        """Whether it computes in less than float32, so that its pictures may differ more."""
        return False

    def supports(self, batch_size: int) -> bool:
        """Whether it takes batches of that size."""
        return batch_size >= 1

    @abstractmethod
    def open(self) -> None:
        """Load the network onto the device.

        Raises:
            NonesuchError: what it needs is missing or refuses the model; the message is the reason to leave it out.
        """

    @abstractmethod
    def run(self, batch: Batch) -> NDArray[np.uint8]:
        """The pictures, uint8 [n, H, W, C]; `device_ms` is set where there is one."""

    @abstractmethod
    def close(self) -> None:
        """Give the device back; a second call does nothing."""

    def time_ms(self, batch: Batch) -> float:
        """What a run takes from numpy arrays in to numpy arrays out, milliseconds."""
        start = time.perf_counter()
        self.run(batch)
        return (time.perf_counter() - start) * 1e3
