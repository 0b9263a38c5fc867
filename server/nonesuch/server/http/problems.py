"""Errors as application/problem+json (RFC 9457), with the same one line that gRPC has."""

from __future__ import annotations

import json
import math
from typing import Any

from starlette.responses import Response

from nonesuch.engine.errors import InvalidRequestError, OverloadedError

from ..call_record import CallRecord
from ..wire_errors import WireStatus

__all__ = ["HTTP_STATUS", "advice", "problem"]

HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 409,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""gRPC codes as google.rpc.Code maps them, but for FAILED_PRECONDITION: what fails is here, not in the request."""
_UNAVAILABLE_RETRY_S = 2


def problem(record: CallRecord, status: WireStatus, error: BaseException) -> Response:
    """The answer for an error that the record has taken."""
    http_status = HTTP_STATUS.get(status.code.name, 500)
    body: dict[str, Any] = {
        "status": http_status,
        "title": status.code.name,
        "detail": status.details,
        "request_id": record.request_id,
    }
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, InvalidRequestError):
        body["violations"] = [{"field": one.field, "description": one.description} for one in error.violations[:4]]
    if isinstance(error, OverloadedError):
        body["retry_after_ms"] = error.retry_after_ms
    headers.update(advice(error))
    return Response(json.dumps(body), http_status, headers, media_type="application/problem+json")


def advice(error: BaseException) -> dict[str, str]:
    """Headers that tell a client how to go on after an error: when to try again, or that a key is wanted."""
    if isinstance(error, OverloadedError):
        return {"Retry-After": str(math.ceil(error.retry_after_ms / 1e3))}
    code = getattr(error, "code", "")
    if code == "UNAVAILABLE":
        return {"Retry-After": str(_UNAVAILABLE_RETRY_S)}
    if code == "UNAUTHENTICATED":
        return {"WWW-Authenticate": 'Bearer realm="nonesuch"'}
    return {}
