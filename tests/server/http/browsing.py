"""A server with an HTTP address, and a browser that follows no redirect by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from nonesuch.server.grpc_server import GrpcServer

from ...conftest import RunServer

WEB = "127.0.0.1:0"


@asynccontextmanager
async def browsing(run_server: RunServer, **settings: object) -> AsyncIterator[tuple[GrpcServer, httpx.AsyncClient]]:
    """A server, and a client that follows no redirects by itself."""
    async with run_server(**{"http": WEB, **settings}) as server:
        async with httpx.AsyncClient(base_url=f"http://{server.http_address}", timeout=30) as web:
            yield server, web
