"""What a call costs its caller, and how long the caller waits for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from nonesuch.engine.errors import NonesuchError

from .caller import CURRENT_CALLER
from .rate_limiter import RateLimiter

__all__ = ["Bill", "CallContext", "charged", "deadline_of"]


class CallContext(Protocol):
    """What the methods want of a call: of gRPC's context, or of another wire's."""

    def time_remaining(self) -> float | None:
        """Seconds until the call's deadline; None where the client set none."""


def deadline_of(context: CallContext) -> float | None:
    """The call's deadline on our clock, `time.monotonic()`; None where the client set none."""
    remaining_s = context.time_remaining()
    return None if remaining_s is None else time.monotonic() + remaining_s


@dataclass
class Bill:
    """How many of the images that were counted have been made."""

    made: int = 0


@contextmanager
def charged(limiter: RateLimiter, images: int, *, bulk: bool = False) -> Iterator[Bill]:
    """Count images against the caller's limit; what is refused or fails meanwhile is given back. Bulk needs its scope.

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
