"""Runs a server until it is told to stop: SIGTERM and SIGINT drain it, a second signal cuts the drain short."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from nonesuch.engine.generator import Generator

from .grpc_server import GrpcServer
from .settings import ServerSettings

__all__ = ["serve"]


async def serve(generator: Generator, settings: ServerSettings, on_ready: Callable[[GrpcServer], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was accepted and return.

    Args:
        generator: the model; it is loaded here and closed at the end.
        settings: addresses and bounds.
        on_ready: called once, when the server takes calls.

    Raises:
        UnavailableError: the address cannot be bound.
        BackendError: the model cannot be loaded.
    """
    server = GrpcServer(generator, settings)
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    starting = asyncio.ensure_future(server.start())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    try:
        await starting  # loading cannot be interrupted; a signal during it is honoured right after
    except BaseException:
        stopping.cancel()
        await server.stop(hurry=True)
        raise
    try:
        if not stop.is_set():
            on_ready(server)
        await stopping
    finally:
        stopping.cancel()
        draining = asyncio.ensure_future(server.stop())
        hurrying = asyncio.ensure_future(hurry.wait())
        await asyncio.wait({draining, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)
            await server.stop(hurry=True)
        else:
            draining.result()
        hurrying.cancel()
