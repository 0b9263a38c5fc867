"""The server's event loop: uvloop where it is installed and wanted, asyncio's own elsewhere."""

from __future__ import annotations

import asyncio
from importlib import import_module

__all__ = ["new_event_loop"]


def new_event_loop(*, uvloop: bool = True) -> asyncio.AbstractEventLoop:
    """A loop that is not running yet."""
    if uvloop:
        try:
            loop: asyncio.AbstractEventLoop = import_module("uvloop").new_event_loop()
        except ImportError:
            pass
        else:
            return loop
    return asyncio.new_event_loop()
