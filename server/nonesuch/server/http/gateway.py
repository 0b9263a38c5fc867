"""The HTTP API: routes over the service object, in the server's own process and event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator

import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nonesuch.engine.errors import ModelNotFoundError, UnavailableError

from ..access.call_gate import CallGate
from ..access.rate_limiter import RateLimiter
from ..core.service import ImageService
from .bounded_protocol import bounded_protocol
from .connect import ALLOWED_HEADERS, EXPOSED_HEADERS, ConnectRoutes
from .fresh_faces import FreshFaces
from .http_calls import Handler, HttpCalls
from .image_pages import ImagePages
from .operations import Operations
from .web_files import WebFiles
from .web_page import DocsPage, WebPage

_KEEP_ALIVE_S = 15
_LINGER_S = 5
_MAX_HEADER_BYTES = 16 * 1024
_EXPOSED = ("ETag", "Nonesuch-Seed", "Nonesuch-Psi", "Nonesuch-Build", "Retry-After", "Server-Timing", "X-Request-Id")
# On every response: no foreign scripts, no framing, no content sniffing, no indexing.
_HEADERS = (
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-robots-tag", b"noindex"),
)


class HttpGateway:
    """A `server.Listener` for one HTTP/1.1 address."""

    setting = "http"

    def __init__(
        self, address: str, service: ImageService, gate: CallGate, limiter: RateLimiter, metrics: CollectorRegistry
    ) -> None:
        """`address` is HOST:PORT; port 0 takes a free one when it starts."""
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._settings = service.settings
        self._faces = FreshFaces(service, service.settings.http_ready_faces)
        pages = ImagePages(service, limiter, self._faces)
        files = WebFiles()
        web = WebPage(service, self._faces, files)
        methods = ConnectRoutes(service, limiter, gate).routes
        docs = DocsPage(files, [method.path for method in methods], service.settings.http_source)
        operations = Operations(service.registry, metrics)
        calls = HttpCalls(gate)

        def route(path: str, handler: Handler, scope: str | None = None) -> Route:
            return Route(path, calls.endpoint(f"GET {path}", handler, scope=scope), methods=["GET"])

        self._app = Starlette(
            routes=[
                Route("/", web.readable(calls.endpoint("GET /", web.page)), methods=["GET"]),
                Route("/docs", docs.page, methods=["GET"]),
                *(Route(path, files.file, methods=["GET"]) for path in files.paths),
                route("/face", pages.fresh, "generate"),
                route("/next", pages.next, "generate"),
                route("/face/{seed}.{extension}", pages.seed, "generate"),
                route("/face/{build}/{seed}.{extension}", pages.lasting, "generate"),
                route("/models", operations.models),
                route("/openapi.json", operations.openapi),
                route("/metrics", operations.metrics, "admin"),
                Route("/healthz", operations.alive),
                Route("/readyz", operations.ready),
                *methods,
            ],
            middleware=[
                Middleware(_SecurityHeaders),
                *(
                    [
                        Middleware(
                            CORSMiddleware,
                            allow_origins=["*"],
                            allow_methods=["GET", "POST"],
                            allow_headers=ALLOWED_HEADERS,
                            expose_headers=(*_EXPOSED, *EXPOSED_HEADERS),
                        )
                    ]
                    if self._settings.http_cors
                    else []
                ),
            ],
            exception_handlers={
                404: _on_error(calls.endpoint("no such page", _no_page)),
                405: _on_error(calls.endpoint("no such method", _no_method)),
            },
        )
        # Such a redirect would repeat the caller's Host header.
        self._app.router.redirect_slashes = False
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            UnavailableError: the address cannot be bound.
        """
        host = self._host.strip("[]")
        try:
            listener = socket.create_server(
                (host, self._port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
            )
        except OSError as error:
            raise UnavailableError(
                f"cannot listen on {self.address} ({error.strerror}); choose another with --http HOST:PORT"
            ) from error
        self._port = listener.getsockname()[1]
        self._server = _Server(
            uvicorn.Config(
                self._app,
                http=bounded_protocol(self._settings.stalled_reader_s),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,  # the gate logs calls
                server_header=False,
                proxy_headers=self._settings.http_proxies is not None,
                forwarded_allow_ips=self._settings.http_proxies or "",
                limit_concurrency=self._settings.max_connections,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_LINGER_S,
                h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
            )
        )
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started and not self._serving.done():  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0)
        if self._serving.done():
            self._serving.result()

    def models_loaded(self) -> None:
        """Render the first faces ahead."""
        self._faces.refill()

    async def stop(self, *, force: bool = False) -> None:
        """Accept no more connections, and close each open one after its response; with `force` at once.

        A second call waits for the same end.
        """
        await self._faces.stop()
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            self._server.force_exit = self._server.force_exit or force
            await asyncio.shield(self._serving)  # the server closes its sockets even if this wait is cancelled


class _Server(uvicorn.Server):
    """Leaves signals to the main program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _SecurityHeaders:
    """Adds `_HEADERS` to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        await self._app(scope, receive, sending)


def _on_error(handler: Handler) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, _: Exception) -> Response:
        return await handler(request)

    return answer


async def _no_page(request: Request) -> Response:
    raise ModelNotFoundError("page not found; try /face, /face/SEED.jpg or /models, or see /docs for all")


async def _no_method(request: Request) -> Response:
    answer = {"status": 405, "title": "UNIMPLEMENTED", "detail": "use GET or HEAD for this page"}
    headers = {"Allow": "GET, HEAD", "Cache-Control": "no-store"}
    return JSONResponse(answer, 405, headers, media_type="application/problem+json")
