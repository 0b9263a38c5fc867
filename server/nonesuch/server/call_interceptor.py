"""Around every call of our services: errors become status in one place, and each call leaves one line in the log."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import structlog

from nonesuch.engine.errors import BackendError, NonesuchError, UnavailableError

from .wire_errors import WireStatus, internal_status, wire_status

__all__ = ["CallInterceptor"]

_log = structlog.get_logger("nonesuch.server")
_OURS = "/nonesuch."
_WATCH = "/grpc.health.v1.Health/Watch"
_Context = grpc.aio.ServicerContext[Any, Any]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handlers of nonesuch.*; ends health watches, which never end by themselves, when the server does."""

    def __init__(self) -> None:
        self._active = 0
        self._refusing = False
        self._leaving = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def refuse(self) -> None:
        """Answer every further call with UNAVAILABLE; those that run already go on."""
        self._refusing = True

    def leave(self) -> None:
        """End the health watches; what they had to say has been said."""
        self._leaving.set()

    async def finish(self, timeout_s: float) -> bool:
        """Wait until no call runs, at most so long; whether that is so."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

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
        serialization = (handler.request_deserializer, handler.response_serializer)
        if method == _WATCH:
            return grpc.unary_stream_rpc_method_handler(self._watch(handler.unary_stream), *serialization)
        if not method.startswith(_OURS):
            return handler
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(self._unary(method, handler.unary_unary), *serialization)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(self._stream(method, handler.unary_stream), *serialization)
        return handler

    def _watch(self, handler: Any) -> Any:
        async def call(request: Any, context: _Context) -> None:
            watching = asyncio.ensure_future(handler(request, context))
            leaving = asyncio.ensure_future(self._leaving.wait())
            try:
                await asyncio.wait({watching, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                watching.cancel()
                leaving.cancel()

        return call

    def _unary(self, method: str, handler: Any) -> Any:
        async def call(request: Any, context: _Context) -> Any:
            async with self._call(method, context):
                return await handler(request, context)

        return call

    def _stream(self, method: str, handler: Any) -> Any:
        async def call(request: Any, context: _Context) -> AsyncIterator[Any]:
            async with self._call(method, context) as record:
                async for response in handler(request, context):
                    record.messages += 1
                    yield response

        return call

    @asynccontextmanager
    async def _call(self, method: str, context: _Context) -> AsyncIterator[_CallRecord]:
        record = _CallRecord(method)
        self._active += 1
        self._idle.clear()
        try:
            if self._refusing:
                raise UnavailableError("the server is shutting down; call another one, or this one after its restart")
            yield record
            record.answered()
        except BaseException as error:
            status = record.failed(error)
            if status is None:
                raise
            await context.abort(status.code, status.details, status.trailing_metadata)
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()


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
            status = wire_status(error)
            _log.info("call", code=error.code, error=status.details, **self._fields())
            return status
        if not isinstance(error, Exception):
            return None
        error_id = secrets.token_hex(8)
        _log.error("call", code="INTERNAL", error_id=error_id, exc_info=error, **self._fields())
        return internal_status(error_id)

    def _fields(self) -> dict[str, object]:
        elapsed_ms = round((time.monotonic() - self._start) * 1e3, 1)
        return {"method": self.method, "messages": self.messages, "elapsed_ms": elapsed_ms}
