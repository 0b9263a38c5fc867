"""Runs a server until it is told to stop: SIGTERM and SIGINT drain it, a second signal cuts the drain short.

SIGHUP reads the API keys of the configuration again.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from importlib import import_module

import structlog

from nonesuch.engine.errors import DeviceLostError, NonesuchError

from .core.open_model import OpenGenerator, open_generator
from .server import Server
from .settings import ServerSettings

__all__ = ["new_event_loop", "serve"]

_log = structlog.get_logger("nonesuch.server")


def new_event_loop(*, uvloop: bool = True) -> asyncio.AbstractEventLoop:
    """A loop that is not running yet: uvloop's where it is installed and wanted, asyncio's own elsewhere."""
    if uvloop:
        try:
            loop: asyncio.AbstractEventLoop = import_module("uvloop").new_event_loop()
        except ImportError:
            pass
        else:
            return loop
    return asyncio.new_event_loop()


async def serve(
    settings: ServerSettings,
    on_ready: Callable[[Server], None],
    *,
    open_model: OpenGenerator = open_generator,
    read_again: Callable[[], ServerSettings] | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or an operator's Drain, then finish what was accepted and return.

    Args:
        settings: models, addresses and bounds.
        on_ready: called once, when the server takes calls.
        open_model: finds a model and a backend for it.
        read_again: gives the settings of which SIGHUP takes the keys.

    Raises:
        UnavailableError: an address cannot be bound.
        BackendError: a model cannot be loaded.
        DeviceLostError: the device hangs or is gone, or two signals came while a model was being loaded; the thread
            that runs may never end, so the process should end by os._exit.
    """
    server = Server(settings, open_model)
    hurry = asyncio.Event()

    def on_signal() -> None:
        (hurry if server.ending.is_set() else server.ending).set()

    def on_hangup() -> None:
        if read_again is not None:
            try:
                server.replace_keys(read_again().keys)
            except NonesuchError as error:
                _log.error("keys not replaced", reason=error.message)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    starting = asyncio.ensure_future(server.start())
    hurrying = asyncio.ensure_future(hurry.wait())
    # Loading cannot be interrupted: a signal during it is honoured right after, a second one ends the process.
    await asyncio.wait({starting, hurrying}, return_when=asyncio.FIRST_COMPLETED)
    hurrying.cancel()
    if not starting.done():
        starting.cancel()
        raise DeviceLostError("stopped while a model was being loaded")
    try:
        starting.result()
    except BaseException:
        await server.stop(hurry=True)
        raise
    if not server.ending.is_set():
        on_ready(server)
    try:
        await server.ending.wait()
    finally:
        await _stop(server, hurry)
    if server.lost is not None:
        raise server.lost


async def _stop(server: Server, hurry: asyncio.Event) -> None:
    draining = asyncio.ensure_future(server.stop())
    hurrying = asyncio.ensure_future(hurry.wait())
    await asyncio.wait({draining, hurrying}, return_when=asyncio.FIRST_COMPLETED)
    hurrying.cancel()
    if draining.done():
        draining.result()
        return
    draining.cancel()
    await asyncio.gather(draining, return_exceptions=True)
    await server.stop(hurry=True)
