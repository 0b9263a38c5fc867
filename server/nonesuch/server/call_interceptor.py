"""Around every call of our services: errors become status in one place, and each call leaves one line in the log."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import structlog

from nonesuch.engine.errors import BackendError, NonesuchError

from .wire_errors import WireStatus, internal_status, wire_status

__all__ = ["CallInterceptor"]

_log = structlog.get_logger("nonesuch.server")
_OURS = "/nonesuch."


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handlers of nonesuch.*; health and reflection pass through."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Replace a handler by one that answers our errors."""
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or not method.startswith(_OURS):
            return handler
        serialization = (handler.request_deserializer, handler.response_serializer)
        if handler.unary_unary is not None:
            wrapped = _unary(method, handler.unary_unary)
            return grpc.unary_unary_rpc_method_handler(wrapped, *serialization)
        if handler.unary_stream is not None:
            streamed = _stream(method, handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(streamed, *serialization)
        return handler


def _unary(method: str, handler: Any) -> Any:
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        record = _CallRecord(method)
        try:
            response = await handler(request, context)
        except BaseException as error:
            status = record.failed(error)
            if status is None:
                raise
            await context.abort(status.code, status.details, status.trailing_metadata)
        record.answered()
        return response

    return call


def _stream(method: str, handler: Any) -> Any:
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        record = _CallRecord(method)
        try:
            async for response in handler(request, context):
                record.messages += 1
                yield response
        except BaseException as error:
            status = record.failed(error)
            if status is None:
                raise
            await context.abort(status.code, status.details, status.trailing_metadata)
        record.answered()

    return call


class _CallRecord:
    """The log line of one call."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.messages = 0
        self._start = time.monotonic()

    def answered(self) -> None:
        _log.info("call", code="OK", **self._fields())

    def failed(self, error: BaseException) -> WireStatus | None:
        """Log the failure; None means that the caller is gone and there is nobody to answer."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            _log.info("call", code="CANCELLED", **self._fields())
            return None
        if isinstance(error, NonesuchError) and not isinstance(error, BackendError):
            _log.info("call", code=error.code, error=error.message, **self._fields())
            return wire_status(error)
        if not isinstance(error, Exception):
            return None
        error_id = secrets.token_hex(8)
        _log.error("call", code="INTERNAL", error_id=error_id, exc_info=error, **self._fields())
        return internal_status(error_id)

    def _fields(self) -> dict[str, object]:
        elapsed_ms = round((time.monotonic() - self._start) * 1e3, 1)
        return {"method": self.method, "messages": self.messages, "elapsed_ms": elapsed_ms}
