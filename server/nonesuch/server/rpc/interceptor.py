"""Around every call over gRPC: the server's gate, errors as status in one place, a bound on slow readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from nonesuch.engine.errors import InvalidRequestError, SlowReaderError

from ..access.call_gate import CallGate
from ..access.call_record import REQUEST_ID_KEY, CallRecord
from ..access.scopes import ADMIN_SERVICE, scope_of
from .health import Health
from .status import wire_status

__all__ = ["CallInterceptor"]

_HEALTH = "/grpc.health."
_WATCH = "/grpc.health.v1.Health/Watch"
_ABORT_S = 1.0
_Context = grpc.aio.ServicerContext[Any, Any]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps all handlers but those of health, of which it bounds the watches."""

    def __init__(
        self, gate: CallGate, health: Health, stalled_reader_s: float, field_names: Mapping[str, Mapping[str, str]]
    ) -> None:
        """Calls pass the gate.

        Args:
            gate: of the server.
            health: of the server.
            stalled_reader_s: a reader that takes nothing for so long loses its stream.
            field_names: for each path that methods of ours begin with, what their callers call the engine's fields.
        """
        self._gate = gate
        self._health = health
        self._stalled_reader_s = stalled_reader_s
        self._field_names = field_names

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
            return grpc.unary_stream_rpc_method_handler(self._health.bounded_watch(handler.unary_stream), read, write)
        if method.startswith(_HEALTH):
            return handler
        if not method.startswith(tuple(self._field_names)):
            return self._keyed(handler)
        # We read the messages ourselves: gRPC answers one that cannot be read with INTERNAL, as if it were our mistake.
        if handler.unary_unary is not None:
            call = self._unary(method, handler.unary_unary, read)
            return grpc.unary_unary_rpc_method_handler(call, None, write)
        if handler.unary_stream is not None:
            stream = self._stream(method, handler.unary_stream, read)
            return grpc.unary_stream_rpc_method_handler(stream, None, write)
        return handler

    def _keyed(self, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        """Others' services (reflection): served as they are to those who have a key, where keys are wanted."""
        if handler.stream_stream is None:
            return handler
        inner: Any = handler.stream_stream

        async def call(requests: Any, context: _Context) -> AsyncIterator[Any]:
            record = self._gate.record("reflection", {})
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
        record = self._gate.record(method, metadata)
        context.set_trailing_metadata(((REQUEST_ID_KEY, record.request_id),))

        async def abort(record: CallRecord, error: BaseException) -> None:
            await self._abort(context, record, error)

        counted = not method.startswith(ADMIN_SERVICE)
        async with self._gate.call(record, metadata, _peer(context), abort, scope=scope_of(method), counted=counted):
            yield record

    async def _abort(self, context: _Context, record: CallRecord, error: BaseException) -> None:
        if isinstance(error, InvalidRequestError):
            names = (names for prefix, names in self._field_names.items() if record.method.startswith(prefix))
            error = error.renamed(next(names, {}))
        failure = record.failed(error)
        if failure is None:
            raise error
        status = wire_status(failure)
        trailing = (*status.trailing_metadata, (REQUEST_ID_KEY, record.request_id))
        # The status stands behind the messages that nobody reads: a reader who takes nothing gets it when it does.
        async with asyncio.timeout(_ABORT_S if isinstance(error, SlowReaderError) else None):
            await context.abort(status.code, status.details, trailing)


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
