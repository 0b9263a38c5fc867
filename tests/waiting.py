"""Waits for conditions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LONG_S = 60.0
"""Time limit for tests that would otherwise hang on a defect; it is not an expected duration."""


async def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(LONG_S):
        while not condition():
            await asyncio.sleep(0.005)
