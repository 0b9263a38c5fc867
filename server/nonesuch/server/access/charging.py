"""The charge of a call against the caller's rate limit, and the call's deadline."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from nonesuch.engine.errors import NonesuchError

from .api_keys import CURRENT_CALLER
from .rate_limiter import RateLimiter


class CallContext(Protocol):
    """The part of a call's context that the methods use, from gRPC or another protocol."""

    def time_remaining(self) -> float | None:
        """Seconds until the call's deadline; None without a deadline."""


def deadline_of(context: CallContext) -> float | None:
    """The call's deadline as `time.monotonic()`; None without a deadline."""
    remaining_s = context.time_remaining()
    return None if remaining_s is None else time.monotonic() + remaining_s


@dataclass
class Bill:
    """How many of the charged images have been made."""

    made: int = 0


@contextmanager
def charged(limiter: RateLimiter, images: int, *, bulk: bool = False) -> Iterator[Bill]:
    """Charge images to the caller's limit, and refund those that fail. Bulk needs the scope "bulk".

    Raises:
        PermissionDeniedError: the caller's key does not allow bulk work.
        OverloadedError: the caller's limit is reached.
    """
    caller = CURRENT_CALLER.get()
    if bulk:
        caller.require("bulk")
    limiter.charge(caller, images)
    bill = Bill()
    try:
        yield bill
    except NonesuchError:
        limiter.refund(caller, images - bill.made)
        raise
