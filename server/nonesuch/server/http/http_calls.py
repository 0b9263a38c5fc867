"""Around every request over HTTP: the server's gate, errors as problems, and work that ends when its reader goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from nonesuch.engine.errors import InvalidRequestError

from ..access.call_gate import CallGate
from ..access.call_record import REQUEST_ID_KEY, CallRecord
from .problems import QUERY_NAMES, problem

__all__ = ["Handler", "HttpCalls", "peer_of"]

Handler = Callable[[Request], Awaitable[Response]]

_CLIENT_GONE = 499  # nginx's number; nobody reads it


class HttpCalls:
    """Makes endpoints of handlers."""

    def __init__(self, gate: CallGate) -> None:
        self._gate = gate

    def endpoint(self, name: str, handler: Handler, *, scope: str | None = None) -> Handler:
        """An endpoint that answers as the handler does, or with a problem.

        Args:
            name: of the call in the log and the metrics; never anything that a caller wrote.
            handler: makes the response; what it raises becomes the answer.
            scope: what the caller's key must allow.
        """

        async def call(request: Request) -> Response:
            headers = dict(request.headers)
            record = self._gate.record(name, headers)
            try:
                async with self._gate.call(record, headers, peer_of(request), _answer, scope=scope):
                    response = await _unless_gone(request, handler)
                    record.messages += 1
            except _AnsweredError as answered:
                response = answered.response
            except _ReaderGoneError:
                response = Response(status_code=_CLIENT_GONE)
            response.headers[REQUEST_ID_KEY] = record.request_id
            return response

        return call


def peer_of(request: Request) -> str:
    """The address of the other side, without its port, as gRPC's calls have it."""
    if request.client is None:
        return "unknown"
    return f"{'ipv6:' if ':' in request.client.host else 'ipv4:'}{request.client.host}"


class _AnsweredError(Exception):
    """A call that ends with a problem for an answer."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


async def _answer(record: CallRecord, error: BaseException) -> None:
    if isinstance(error, InvalidRequestError):
        error = error.renamed(QUERY_NAMES)
    failure = record.failed(error)
    if failure is None:
        raise error
    raise _AnsweredError(problem(failure, record.request_id)) from error


class _ReaderGoneError(asyncio.CancelledError):
    """The other side has closed the connection."""


async def _unless_gone(request: Request, handler: Handler) -> Response:
    """What the handler makes; it is cancelled where the reader goes, so that nobody renders for nobody."""
    working = asyncio.ensure_future(handler(request))
    going = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, going}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
    finally:
        for task in (working, going):
            task.cancel()
        await asyncio.gather(working, going, return_exceptions=True)
    raise _ReaderGoneError


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
