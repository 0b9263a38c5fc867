"""Waiting for what comes by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["LONG_S", "until"]

LONG_S = 60.0
"""A bound for tests that would hang where something is broken; it is no time that anything is held to."""


async def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(LONG_S):
        while not condition():
            await asyncio.sleep(0.005)
