"""A rate limit on images: a token bucket for each client, one token per image.

A request for more tokens than the bucket has is refused, with the time to wait. A request larger than a full bucket is
accepted when the bucket is full, and leaves a debt.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

from nonesuch.engine.errors import OverloadedError

from .api_keys import Caller

_MAX_CLIENTS = 10_000  # the least recently active is dropped; its bucket is nearly full


@dataclass
class _Bucket:
    tokens: float
    at: float


class RateLimiter:
    """The buckets of all clients; for the event loop only."""

    def __init__(
        self, images_per_s: float | None, burst_images: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """With `images_per_s` None, only callers with their own limit are limited."""
        self._rate = images_per_s
        self._burst = burst_images
        self._clock = clock
        self._buckets: LRUCache[str, _Bucket] = LRUCache(_MAX_CLIENTS)

    def charge(self, caller: Caller, images: int) -> None:
        """Take one token per image from the caller's bucket.

        Raises:
            OverloadedError: there are too few tokens; `retry_after_ms` is the time to wait.
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
        """Return the tokens of images that were not made."""
        bucket = self._buckets.get(caller.name)
        if bucket is not None:
            bucket.tokens += images  # the next charge limits them to the burst
