"""Runs a server: SIGTERM and SIGINT drain it, a second signal ends the drain, SIGHUP reloads the API keys."""

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

_log = structlog.get_logger("nonesuch.server")


def new_event_loop(*, uvloop: bool = True) -> asyncio.AbstractEventLoop:
    """A new event loop: from uvloop if `uvloop` is set and it is installed, otherwise from asyncio."""
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
    """Serve until SIGTERM, SIGINT or an operator's Drain, then finish all accepted calls and return.

    Args:
        settings: models, addresses and limits.
        on_ready: called once, when the server accepts calls.
        open_model: opens a model on a backend.
        read_again: reloads the settings; SIGHUP applies their keys.

    Raises:
        UnavailableError: an address cannot be bound.
        BackendError: a model cannot be loaded.
        DeviceLostError: the device hangs or is lost, or two signals arrived while a model was loading. A thread may
            still be blocked, so the process should end with os._exit.
    """
    server = Server(settings, open_model)
    second_signal = asyncio.Event()

    def on_signal() -> None:
        (second_signal if server.ending.is_set() else server.ending).set()

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
    interrupted = asyncio.ensure_future(second_signal.wait())
    # Loading cannot be interrupted: the first signal takes effect after it, a second one ends the process.
    await asyncio.wait({starting, interrupted}, return_when=asyncio.FIRST_COMPLETED)
    interrupted.cancel()
    if not starting.done():
        starting.cancel()
        raise DeviceLostError("stopped while a model was being loaded")
    try:
        starting.result()
    except BaseException:
        await server.stop(force=True)
        raise
    if not server.ending.is_set():
        on_ready(server)
    try:
        await server.ending.wait()
    finally:
        await _stop(server, second_signal)
    if server.lost is not None:
        raise server.lost


async def _stop(server: Server, second_signal: asyncio.Event) -> None:
    draining = asyncio.ensure_future(server.stop())
    interrupted = asyncio.ensure_future(second_signal.wait())
    await asyncio.wait({draining, interrupted}, return_when=asyncio.FIRST_COMPLETED)
    interrupted.cancel()
    if draining.done():
        draining.result()
        return
    draining.cancel()
    await asyncio.gather(draining, return_exceptions=True)
    await server.stop(force=True)
