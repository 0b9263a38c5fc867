"""Errors as application/problem+json (RFC 9457), with the same message as over gRPC."""

from __future__ import annotations

import json
import math
from typing import Any

from starlette.responses import Response

from ..access.call_record import Failure

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
"""As google.rpc.Code maps them, except FAILED_PRECONDITION: it is a fault of the server's state, not of the request."""
QUERY_NAMES = {"class_index": "class", "mixing": "mix", "mixing.layers": "mix"}
"""The query names of the engine's fields, where they differ."""
_UNAVAILABLE_RETRY_S = 2


def problem(failure: Failure, request_id: str) -> Response:
    """The response to a failed call."""
    http_status = HTTP_STATUS.get(failure.code, 500)
    body: dict[str, Any] = {
        "status": http_status,
        "title": failure.code,
        "detail": failure.message,
        "request_id": request_id,
    }
    if failure.violations:
        body["violations"] = [{"field": one.field, "description": one.description} for one in failure.violations]
    if failure.retry_after_ms is not None:
        body["retry_after_ms"] = failure.retry_after_ms
    headers = {"Cache-Control": "no-store", **advice(failure)}
    return Response(json.dumps(body), http_status, headers, media_type="application/problem+json")


def advice(failure: Failure) -> dict[str, str]:
    """Headers that tell a client when to try again, or that it needs a key."""
    if failure.retry_after_ms is not None:
        return {"Retry-After": str(math.ceil(failure.retry_after_ms / 1e3))}
    if failure.code == "UNAVAILABLE":
        return {"Retry-After": str(_UNAVAILABLE_RETRY_S)}
    if failure.code == "UNAUTHENTICATED":
        return {"WWW-Authenticate": 'Bearer realm="nonesuch"'}
    return {}
