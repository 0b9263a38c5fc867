"""Wraps every HTTP handler: passes the gate, turns errors into problems, cancels work if the client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from nonesuch.engine.errors import InvalidRequestError

from ..access.call_gate import CallGate
from ..access.call_record import REQUEST_ID_KEY, CallRecord
from .problems import QUERY_NAMES, problem

Handler = Callable[[Request], Awaitable[Response]]

_CLIENT_GONE = 499  # nginx's number; nobody reads it


class HttpCalls:
    """Turns handlers into endpoints."""

    def __init__(self, gate: CallGate) -> None:
        self._gate = gate

    def endpoint(self, name: str, handler: Handler, *, scope: str | None = None) -> Handler:
        """An endpoint that responds as the handler does, or with a problem.

        Args:
            name: the call's name in the log and the metrics; never text from a caller.
            handler: makes the response; its errors become problems.
            scope: the scope that the caller's key needs.
        """

        async def call(request: Request) -> Response:
            headers = dict(request.headers)
            record = self._gate.record(name, headers)
            try:
                async with self._gate.call(record, headers, peer_of(request), _raise_problem, scope=scope):
                    response = await _cancelled_on_disconnect(request, handler)
                    record.messages += 1
            except _ProblemError as error:
                response = error.response
            except _ClientGoneError:
                response = Response(status_code=_CLIENT_GONE)
            response.headers[REQUEST_ID_KEY] = record.request_id
            return response

        return call


def peer_of(request: Request) -> str:
    """The client's address without its port, in gRPC's form."""
    if request.client is None:
        return "unknown"
    return f"{'ipv6:' if ':' in request.client.host else 'ipv4:'}{request.client.host}"


class _ProblemError(Exception):
    """Carries the problem that a failed call returns."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


async def _raise_problem(record: CallRecord, error: BaseException) -> None:
    if isinstance(error, InvalidRequestError):
        error = error.renamed(QUERY_NAMES)
    failure = record.failed(error)
    if failure is None:
        raise error
    raise _ProblemError(problem(failure, record.request_id)) from error


class _ClientGoneError(asyncio.CancelledError):
    """The client has closed the connection."""


async def _cancelled_on_disconnect(request: Request, handler: Handler) -> Response:
    """The handler's response; the handler is cancelled if the client disconnects."""
    working = asyncio.ensure_future(handler(request))
    leaving = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
    raise _ClientGoneError


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
