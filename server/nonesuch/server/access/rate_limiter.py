"""How many images a client may ask for: a bucket of tokens for each, an image a token.

A request for more than is in the bucket is refused with the time after which it would be taken. One that is larger than
the bucket can ever hold is taken when the bucket is full, and leaves a debt.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

from nonesuch.engine.errors import OverloadedError

from .caller import Caller

_MAX_CLIENTS = 10_000  # the one that was silent for longest is forgotten; its bucket is full or close to it


@dataclass
class _Bucket:
    tokens: float
    at: float


class RateLimiter:
    """Buckets of all clients; used on the event loop alone."""

    def __init__(
        self, images_per_s: float | None, burst_images: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`images_per_s` None: only callers with a limit of their own are limited."""
        self._rate = images_per_s
        self._burst = burst_images
        self._clock = clock
        self._buckets: LRUCache[str, _Bucket] = LRUCache(_MAX_CLIENTS)

    def charge(self, caller: Caller, images: int) -> None:
        """Take so many tokens out of the caller's bucket.

        Raises:
            OverloadedError: there are not enough; `retry_after_ms` says when there will be.
        """
        rate = caller.images_per_s or self._rate
        if rate is None:
            return
        burst = caller.burst_images or self._burst
        now = self._clock()
        bucket = self._buckets.setdefault(caller.name, _Bucket(burst, now))
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        missing = min(images, burst) - bucket.tokens
        if missing > 1e-9:
            retry_after_ms = max(1, round(missing / rate * 1e3))
            raise OverloadedError(
                f"{caller.name!r} may ask for {rate:g} images a second, {burst} at once; try again in "
                f"{retry_after_ms} ms",
                retry_after_ms=retry_after_ms,
            )
        bucket.tokens -= images

    def refund(self, caller: Caller, images: int) -> None:
        """Put tokens back that were taken for images that were not made."""
        bucket = self._buckets.get(caller.name)
        if bucket is not None:
            bucket.tokens += images  # the next charge bounds them by the burst
