"""Around every call: who calls and what it may do, errors as status in one place, a record, a bound on slow readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from nonesuch.engine.errors import (
    InvalidRequestError,
    SlowReaderError,
)

from .call_gate import CallGate
from .call_record import REQUEST_ID_KEY, CallRecord, request_id

__all__ = ["MOST_WATCHES", "CallInterceptor", "scope_of"]

MOST_WATCHES = 512
"""Watches of health at once: they need no key and never end by themselves."""

_OURS = ("/nonesuch.", "/inference.")
_HEALTH = "/grpc.health."
_WATCH = "/grpc.health.v1.Health/Watch"
# What a key must allow; the rest of ours only wants a key.
_ADMIN = "/nonesuch.v1.AdminService/"
_SCOPES = {
    "/nonesuch.v1.GenerationService/": "generate",
    "/inference.GRPCInferenceService/ModelInfer": "generate",
    # These may load a model.
    "/nonesuch.v1.ModelService/GetModel": "generate",
    "/inference.GRPCInferenceService/ModelMetadata": "generate",
    _ADMIN: "admin",
}
_ABORT_S = 1.0
_Context = grpc.aio.ServicerContext[Any, Any]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps all handlers but those of health, of which it ends the watches when the server ends."""

    def __init__(self, gate: CallGate, stalled_reader_s: float) -> None:
        """`gate` is what the calls pass; a reader that takes nothing for `stalled_reader_s` loses its stream."""
        self._gate = gate
        self._stalled_reader_s = stalled_reader_s
        self._watches = 0
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """End the health watches; what they had to say has been said."""
        self._leaving.set()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Replace a handler by one that answers our errors."""
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None:
            return None
        read, write = handler.request_deserializer, handler.response_serializer
        if method == _WATCH:
            return grpc.unary_stream_rpc_method_handler(self._watch(handler.unary_stream), read, write)
        if method.startswith(_HEALTH):
            return handler
        if not method.startswith(_OURS):
            return self._keyed(handler)
        # We read the messages ourselves: gRPC answers one that cannot be read with INTERNAL, as if it were our mistake.
        if handler.unary_unary is not None:
            call = self._unary(method, handler.unary_unary, read)
            return grpc.unary_unary_rpc_method_handler(call, None, write)
        if handler.unary_stream is not None:
            stream = self._stream(method, handler.unary_stream, read)
            return grpc.unary_stream_rpc_method_handler(stream, None, write)
        return handler

    def _watch(self, handler: Any) -> Any:
        async def call(request: Any, context: _Context) -> None:
            if self._watches >= MOST_WATCHES:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MOST_WATCHES} watches run; use Check")
            self._watches += 1
            watching = asyncio.ensure_future(handler(request, context))
            leaving = asyncio.ensure_future(self._leaving.wait())
            try:
                await asyncio.wait({watching, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._watches -= 1
                watching.cancel()
                leaving.cancel()
                await asyncio.gather(watching, return_exceptions=True)

        return call

    def _keyed(self, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        """Others' services (reflection): served as they are to those who have a key, where keys are wanted."""
        if handler.stream_stream is None:
            return handler
        inner: Any = handler.stream_stream

        async def call(requests: Any, context: _Context) -> AsyncIterator[Any]:
            record = CallRecord("reflection", "", self._gate.metrics)
            try:
                self._gate.keys.caller(_texts(context).get("authorization"), _peer(context))
            except Exception as error:
                await self._abort(context, record, error)
            async for response in inner(requests, context):
                yield response

        return grpc.stream_stream_rpc_method_handler(call, handler.request_deserializer, handler.response_serializer)

    def _unary(self, method: str, handler: Any, read: Any) -> Any:
        async def call(request: bytes, context: _Context) -> Any:
            async with self._call(method, context):
                return await handler(_message(read, request), context)

        return call

    def _stream(self, method: str, handler: Any, read: Any) -> Any:
        async def call(request: bytes, context: _Context) -> None:
            async with self._call(method, context) as record:
                responses = handler(_message(read, request), context)
                try:
                    async for response in responses:
                        await self._write(context, response)
                        record.messages += 1
                finally:
                    await responses.aclose()

        return call

    async def _write(self, context: _Context, response: Any) -> None:
        """Hand a message to the transport, which takes it when the reader has taken what came before.

        Raises:
            SlowReaderError: it does not, for longer than it may.
        """
        limit_s = self._stalled_reader_s
        try:
            async with asyncio.timeout(limit_s):
                await context.write(response)
        except TimeoutError as error:
            raise SlowReaderError(
                f"nothing was read from the stream for {limit_s:g} s; read faster, or ask for less"
            ) from error

    @asynccontextmanager
    async def _call(self, method: str, context: _Context) -> AsyncIterator[CallRecord]:
        metadata = _texts(context)
        record = CallRecord(method, request_id(metadata), self._gate.metrics)
        context.set_trailing_metadata(((REQUEST_ID_KEY, record.request_id),))

        async def abort(record: CallRecord, error: BaseException) -> None:
            await self._abort(context, record, error)

        counted = not method.startswith(_ADMIN)
        async with self._gate.call(record, metadata, _peer(context), abort, scope=scope_of(method), counted=counted):
            yield record

    async def _abort(self, context: _Context, record: CallRecord, error: BaseException) -> None:
        status = record.failed(error)
        if status is None:
            raise error
        trailing = (*status.trailing_metadata, (REQUEST_ID_KEY, record.request_id))
        # The status stands behind the messages that nobody reads: a reader who takes nothing gets it when it does.
        async with asyncio.timeout(_ABORT_S if isinstance(error, SlowReaderError) else None):
            await context.abort(status.code, status.details, trailing)


def scope_of(method: str) -> str | None:
    """What a key must allow for a method, by its path; None where any key will do."""
    return next((scope for prefix, scope in _SCOPES.items() if method.startswith(prefix)), None)


def _message(read: Any, data: bytes) -> Any:
    try:
        return read(data)
    except DecodeError as error:
        raise InvalidRequestError.of("request", f"its {len(data)} bytes are no message of this method") from error


def _texts(context: _Context) -> dict[str, str]:
    """The call's metadata without what is binary; of a key that came twice, the last."""
    return {str(key): value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


def _peer(context: _Context) -> str:
    """The names in the client's certificate, else its address."""
    identities = context.peer_identities() or ()
    return ", ".join(identity.decode(errors="replace") for identity in identities) or _host(context.peer())


def _host(peer: str) -> str:
    """The address without its port, which is another for each connection."""
    return peer.rpartition(":")[0] if peer.startswith(("ipv4:", "ipv6:")) else peer
