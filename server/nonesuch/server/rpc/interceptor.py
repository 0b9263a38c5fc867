"""Wraps every gRPC call: admission by the gate, errors as status, a time limit for slow readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from nonesuch.engine.errors import InvalidRequestError, SlowReaderError

from ..access.api_keys import ADMIN_SERVICE, scope_of
from ..access.call_gate import CallGate
from ..access.call_record import REQUEST_ID_KEY, CallRecord
from .health import Health
from .status import wire_status

_HEALTH = "/grpc.health."
_WATCH = "/grpc.health.v1.Health/Watch"
_ABORT_TIMEOUT_S = 1.0
_Context = grpc.aio.ServicerContext[Any, Any]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps all handlers except those of health, where it limits only the watches."""

    def __init__(
        self, gate: CallGate, health: Health, stalled_reader_s: float, field_names: Mapping[str, Mapping[str, str]]
    ) -> None:
        """Create the interceptor of a server.

        Args:
            gate: the server's gate.
            health: the server's health.
            stalled_reader_s: a stream whose reader takes nothing for this long is ended.
            field_names: by prefix of the method path, the protocol's name of each field of the engine.
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
        """Replace a handler by one that answers with the engine's errors."""
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
            return self._with_key(handler)
        # Messages are parsed here, because gRPC itself answers an invalid message with INTERNAL.
        if handler.unary_unary is not None:
            call = self._unary(method, handler.unary_unary, read)
            return grpc.unary_unary_rpc_method_handler(call, None, write)
        if handler.unary_stream is not None:
            stream = self._stream(method, handler.unary_stream, read)
            return grpc.unary_stream_rpc_method_handler(stream, None, write)
        return handler

    def _with_key(self, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        """Require a key, if the server has keys, for the reflection service, which is not ours."""
        if handler.stream_stream is None:
            return handler
        inner: Any = handler.stream_stream

        async def call(requests: Any, context: _Context) -> AsyncIterator[Any]:
            record = self._gate.record("reflection", {})
            try:
                self._gate.keys.caller(_text_metadata(context).get("authorization"), _peer(context))
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
        """Pass a message to the transport, which accepts it after the reader has taken the previous ones.

        Raises:
            SlowReaderError: the reader takes nothing for `stalled_reader_s`.
        """
        limit_s = self._stalled_reader_s
        try:
            async with asyncio.timeout(limit_s):
                await context.write(response)
        except TimeoutError as error:
            raise SlowReaderError(
                f"nothing was read from the stream for {limit_s:g} s; read faster, or request fewer images"
            ) from error

    @asynccontextmanager
    async def _call(self, method: str, context: _Context) -> AsyncIterator[CallRecord]:
        metadata = _text_metadata(context)
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
        # The status is queued behind the unread messages, so a slow reader gets it only when it reads again.
        async with asyncio.timeout(_ABORT_TIMEOUT_S if isinstance(error, SlowReaderError) else None):
            await context.abort(status.code, status.details, trailing)


def _message(read: Any, data: bytes) -> Any:
    try:
        return read(data)
    except DecodeError as error:
        raise InvalidRequestError.of("request", f"its {len(data)} bytes are not a message of this method") from error


def _text_metadata(context: _Context) -> dict[str, str]:
    """The call's text metadata; the last value of a repeated key."""
    return {str(key): value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


def _peer(context: _Context) -> str:
    """The names in the client's certificate, or its address."""
    identities = context.peer_identities() or ()
    return ", ".join(identity.decode(errors="replace") for identity in identities) or _host(context.peer())


def _host(peer: str) -> str:
    """The address without its port, which differs by connection."""
    return peer.rpartition(":")[0] if peer.startswith(("ipv4:", "ipv6:")) else peer
