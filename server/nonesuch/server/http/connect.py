"""Our gRPC methods for browsers, curl and Connect clients: the Connect protocol and gRPC-Web over HTTP/1.1.

connectrpc implements the protocols; the servicers are those of our gRPC server. This module adds the gate, our errors,
and timeouts for clients that send or read too slowly.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from nonesuch.engine.errors import DeadlineError, InvalidRequestError, SlowReaderError
from nonesuch.v1 import generation_service_pb2, model_service_pb2

from ..access.api_keys import scope_of
from ..access.call_gate import CallGate
from ..access.call_record import REQUEST_ID_KEY, CallRecord
from ..access.rate_limiter import RateLimiter
from ..core.batching.request_queue import Priority
from ..core.service import ImageService
from ..rpc.generation_servicer import GenerationServicer
from ..rpc.listener import MAX_REQUEST_BYTES
from ..rpc.model_servicers import ModelServicer
from ..rpc.status import FIELD_PATHS, wire_status
from .connect_codecs import CODECS, connect_error, our_error
from .http_calls import peer_of
from .problems import advice

ALLOWED_HEADERS = (
    "Authorization",
    "Connect-Protocol-Version",
    "Connect-Timeout-Ms",
    "Content-Type",
    "Grpc-Timeout",
    "X-Grpc-Web",
    "X-Request-Id",
    "X-User-Agent",
)
"""Request headers that pages of other origins may send, if CORS is on."""
EXPOSED_HEADERS = ("Grpc-Message", "Grpc-Status", "Grpc-Status-Details-Bin", "Trailer-Grpc-Retry-Pushback-Ms")
"""Response headers that they may read, besides those of every page."""

_GRPC_WEB = ("application/grpc-web", "application/grpc-web+proto", "application/grpc-web+json")
_UNARY = ("application/json", "application/proto", *_GRPC_WEB)
_STREAM = ("application/connect+json", "application/connect+proto", *_GRPC_WEB)
_Wire = RequestContext[Any, Any]


@dataclass
class _Call:
    """A call in progress; `entered` is the gate's context, to exit at the end."""

    record: CallRecord
    peer: str
    entered: AbstractAsyncContextManager[CallRecord] | None = None


_CALL: ContextVar[_Call] = ContextVar("_CALL")


class ConnectRoutes:
    """An ASGI application and its routes: POST /nonesuch.v1.GenerationService/Generate and so on."""

    def __init__(self, service: ImageService, limiter: RateLimiter, gate: CallGate) -> None:
        self._gate = gate
        self._limit_s = service.settings.stalled_reader_s
        generation = generation_service_pb2.DESCRIPTOR.services_by_name["GenerationService"]
        models = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"]
        self._endpoints = {
            **_endpoints(generation, GenerationServicer(service, limiter, Priority.VISITOR)),
            **_endpoints(models, ModelServicer(service.registry)),
        }
        self._app = _Application(
            service=None,
            endpoints=lambda _: self._endpoints,
            interceptors=(_Gatekeeper(gate),),
            read_max_bytes=MAX_REQUEST_BYTES,
            compressions=(),  # images are compressed already, and compressing would block the event loop
            codecs=CODECS,
        )

    @property
    def routes(self) -> Sequence[Route]:
        """A route for each method."""
        return [Route(path, self) for path in self._endpoints]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path, request = str(scope["path"]), Request(scope)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        streams = self._endpoints[path].method.stream_type is StreamType.SERVER_STREAM
        refusal = _refusal(str(scope["method"]), kind, _STREAM if streams else _UNARY)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        # The library requires UTF-8; a header may have any bytes.
        headers = [(name.encode(), value.encode()) for name, value in request.headers.items() if name != "content-type"]
        record = self._gate.record(path, dict(request.headers))
        _CALL.set(_Call(record, peer_of(request)))
        # An error that can no longer be sent is in the record, and the connection ends.
        with suppress(ConnectError, SlowReaderError):
            await self._app(
                {**scope, "headers": [*headers, (b"content-type", kind.encode())]},
                _receive_within(receive, self._limit_s),
                _send_within(send, self._limit_s),
            )


class _Application(ConnectASGIApplication[None]):
    @property
    def path(self) -> str:
        return "/"


class _Gatekeeper:
    """Passes every call through the gate before its body is read."""

    def __init__(self, gate: CallGate) -> None:
        self._gate = gate

    async def on_start(self, ctx: _Wire) -> _Call:
        """Enter.

        Raises:
            ConnectError: the gate refuses.
        """
        call = _CALL.get()
        ctx.response_headers[REQUEST_ID_KEY] = call.record.request_id

        async def answer(record: CallRecord, error: BaseException) -> None:
            if isinstance(error, InvalidRequestError):
                error = error.renamed(FIELD_PATHS)
            failure = record.failed(error)
            if failure is None:
                raise ConnectError(Code.CANCELED, "the client disconnected")
            status = wire_status(failure)
            ctx.response_headers.update(advice(failure))
            for key, value in status.trailing_metadata:
                if isinstance(value, str):
                    ctx.response_trailers[key] = value
            raise connect_error(status)

        method = call.record.method
        metadata = dict(ctx.request_headers)
        call.entered = self._gate.call(call.record, metadata, call.peer, answer, scope=scope_of(method))
        await call.entered.__aenter__()
        return call

    async def on_end(self, token: _Call, ctx: _Wire, error: Exception | None, /) -> None:
        """Leave.

        Raises:
            ConnectError: the error as the caller sees it.
        """
        assert token.entered is not None  # noqa: S101 - on_start did
        cause = None if error is None else our_error(error)
        await token.entered.__aexit__(type(cause) if cause else None, cause, cause.__traceback__ if cause else None)


@dataclass(frozen=True)
class _Context:
    """The part of gRPC's call context that our servicers use."""

    wire: _Wire

    def time_remaining(self) -> float | None:
        remaining_ms = self.wire.timeout_ms
        return None if remaining_ms is None else remaining_ms / 1e3


def _endpoints(service: ServiceDescriptor, servicer: object) -> Mapping[str, Any]:
    """An endpoint for each method of a service, by its path."""
    return {
        f"/{service.full_name}/{method.name}": _endpoint(method, getattr(servicer, method.name))
        for method in service.methods
    }


def _endpoint(method: MethodDescriptor, handler: Callable[..., Any]) -> Any:
    info: MethodInfo[Any, Any] = MethodInfo(
        name=method.name,
        service_name=method.containing_service.full_name,
        input=GetMessageClass(method.input_type),
        output=GetMessageClass(method.output_type),
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=StreamType.SERVER_STREAM if method.server_streaming else StreamType.UNARY,
    )

    async def unary(request: Any, ctx: _Wire) -> Any:
        response = await handler(request, _Context(ctx))
        _CALL.get().record.messages += 1
        return response

    async def stream(request: Any, ctx: _Wire) -> AsyncIterator[Any]:
        async with aclosing(handler(request, _Context(ctx))) as responses:
            async for response in responses:
                yield response
                _CALL.get().record.messages += 1

    return Endpoint.server_stream(info, stream) if method.server_streaming else Endpoint.unary(info, unary)


def _refusal(http_method: str, kind: str, kinds: Sequence[str]) -> Response | None:
    """The error response to a request that is not a call of these protocols; else None."""
    if http_method != "POST":
        status, headers, problem = 405, {"Allow": "POST"}, "methods are called with POST"
    elif kind not in kinds:
        status, headers = 415, {"Accept-Post": ", ".join(kinds)}
        problem = f"use one of these content types: {', '.join(kinds)}"
    else:
        return None
    answer = {"status": status, "title": "UNIMPLEMENTED", "detail": problem}
    return JSONResponse(answer, status, {**headers, "Cache-Control": "no-store"}, "application/problem+json")


def _receive_within(receive: Receive, limit_s: float) -> Receive:
    """Limit the time to receive a whole request: a slow one occupies the place of a call."""
    until = asyncio.get_running_loop().time() + limit_s
    complete = False

    async def receiving() -> Message:
        nonlocal complete
        try:
            async with asyncio.timeout_at(None if complete else until):
                message = await receive()
        except TimeoutError as error:
            raise DeadlineError(f"the request was incomplete after {limit_s:g} s; send it faster") from error
        complete = complete or not message.get("more_body", False)
        return message

    return receiving


def _send_within(send: Send, limit_s: float) -> Send:
    """Limit the time that a send may wait for a reader that reads nothing."""

    async def sending(message: Message) -> None:
        try:
            async with asyncio.timeout(limit_s):
                await send(message)
        except TimeoutError as error:
            text = f"nothing was read from the stream for {limit_s:g} s; read faster, or request less"
            raise SlowReaderError(text) from error

    return sending
