"""The HTTP API of a server: routes over the service object, in the server's own process and loop."""

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
from .docs_page import DocsPage
from .fresh_faces import FreshFaces
from .http_calls import Handler, HttpCalls
from .image_pages import ImagePages
from .operations import Operations
from .web_files import WebFiles
from .web_page import WebPage

_KEEP_ALIVE_S = 15
_LINGER_S = 5
_MAX_HEADER_BYTES = 16 * 1024
_EXPOSED = ("ETag", "Nonesuch-Seed", "Nonesuch-Psi", "Nonesuch-Build", "Retry-After", "Server-Timing", "X-Request-Id")
# On every answer: nothing of it is run, framed, guessed at or indexed.
_HEADERS = (
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-robots-tag", b"noindex"),
)


class HttpGateway:
    """One address over HTTP/1.1: a listener, as `server.Listener` says."""

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
                Middleware(_PlainHeaders),
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
        # It would answer with the Host that the caller wrote.
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
                access_log=False,  # the gate has the log
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
        """Make the first faces ahead."""
        self._faces.refill()

    async def stop(self, *, hurry: bool = False) -> None:
        """Take no more connections, and end those that are open when their answers are out; `hurry` waits for none.

        A second call waits for the same end.
        """
        await self._faces.stop()
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            self._server.force_exit = self._server.force_exit or hurry
            await asyncio.shield(self._serving)  # also where the wait is cut short, it closes its sockets


class _Server(uvicorn.Server):
    """Leaves signals to the program around it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _PlainHeaders:
    """Adds `_HEADERS` to every answer."""

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
    raise ModelNotFoundError(
        "there is no such page; there are /face, /face/SEED.jpg, /models and others, which /docs lists"
    )


async def _no_method(request: Request) -> Response:
    answer = {"status": 405, "title": "UNIMPLEMENTED", "detail": "this page is read with GET or HEAD"}
    headers = {"Allow": "GET, HEAD", "Cache-Control": "no-store"}
    return JSONResponse(answer, 405, headers, media_type="application/problem+json")
