"""Servers with an HTTP address and a client for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from nonesuch.server.http.gateway import HttpGateway
from nonesuch.server.server import Server

from ...conftest import RunServer

WEB = "127.0.0.1:0"


@asynccontextmanager
async def browsing(run_server: RunServer, **settings: object) -> AsyncIterator[tuple[Server, httpx.AsyncClient]]:
    """A server, and a client that does not follow redirects by default."""
    async with run_server(**{"http": WEB, **settings}) as server:
        async with httpx.AsyncClient(base_url=f"http://{server.addresses['http']}", timeout=30) as web:
            yield server, web


def gateway_of(server: Server) -> HttpGateway:
    """The server's HTTP listener."""
    return next(listener for listener in server.listeners if isinstance(listener, HttpGateway))
