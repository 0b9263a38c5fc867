"""What a server can be told, with its defaults and bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nonesuch.engine.errors import FieldViolation, InvalidRequestError

__all__ = ["ServerSettings"]


@dataclass(frozen=True)
class ServerSettings:
    """Settings of one server; every wait and every size is bounded."""

    grpc_address: str = "127.0.0.1:50051"  # loopback: there is no TLS and no authentication yet
    max_batch_size: int = 8  # images in one run at most
    min_batch_gain: float = 0.1  # a batch grows only while twice the size saves this share of the time per image
    queue_delay_ms: float = 0.0  # how long a batch may wait for company while the device is idle
    queue_limit: int = 128  # images that may wait; one more is refused at once
    max_images_per_stream: int = 1024  # longer streams are refused
    encode_threads: int | None = None  # None: one for each core
    drain_delay_s: float = 0.5  # after SIGTERM: how long health says NOT_SERVING while calls are still taken
    drain_s: float = 60.0  # and then: how long accepted calls may take to finish

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[float, float, float]] = {
            "max_batch_size": (self.max_batch_size, 1, 1024),
            "min_batch_gain": (self.min_batch_gain, 0, 0.9),
            "queue_delay_ms": (self.queue_delay_ms, 0, 10_000),
            "queue_limit": (self.queue_limit, 1, 100_000),
            "max_images_per_stream": (self.max_images_per_stream, 1, 1_000_000),
            "encode_threads": (self.encode_threads or 1, 1, 256),
            "drain_delay_s": (self.drain_delay_s, 0, 600),
            "drain_s": (self.drain_s, 0, 3600),
        }
        violations = [
            FieldViolation(name, f"{value:g} is out of range; it is {low:g} to {high:g}")
            for name, (value, low, high) in bounds.items()
            if not (math.isfinite(value) and low <= value <= high)
        ]
        if violations:
            raise InvalidRequestError(violations)
