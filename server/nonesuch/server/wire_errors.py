"""The one place that turns our errors into gRPC status, with google.rpc details."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from nonesuch.engine.errors import InvalidRequestError, NonesuchError, OverloadedError

__all__ = ["WireStatus", "internal_status", "wire_status"]

_DOMAIN = "nonesuch.v1"
MAX_TEXT = 512
_MOST_VIOLATIONS = 4
# The engine names fields in its own terms; this is where they are on the wire.
_FIELD_PATHS = {
    "seed": "source.seed",
    "z": "source.z",
    "w": "source.w",
    "ws": "source.w",
    "psi": "synthesis.psi",
    "cutoff": "synthesis.cutoff",
    "class_index": "synthesis.class_index",
    "mixing": "synthesis.mixing",
    "mixing.layers": "synthesis.mixing.layers",
    "mixing.source.z": "synthesis.mixing.source.z",
    "mixing.source.w": "synthesis.mixing.source.w",
    "mixing.group": "synthesis.mixing.group",
    "mixing.source": "synthesis.mixing.source",
    "noise_mode": "synthesis.noise_mode",
    "transform": "synthesis.transform",
    "format": "image.format",
    "quality": "image.quality",
    "size": "image.size",
}


@dataclass(frozen=True)
class WireStatus:
    """A status as `context.abort` takes it."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def wire_status(error: NonesuchError, *, ours: bool = True) -> WireStatus:
    """The status of one of our errors; details carry BadRequest or RetryInfo, and always ErrorInfo.

    Fields have their paths in nonesuch.v1; where a call is not `ours`, they keep the names that its reader gave them.
    """
    code = grpc.StatusCode[error.code]
    message = _short(error.message)
    extra: tuple[tuple[str, str], ...] = ()
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=type(error).__name__, domain=_DOMAIN)]
    if isinstance(error, InvalidRequestError):
        violations = [
            error_details_pb2.BadRequest.FieldViolation(
                field=_FIELD_PATHS.get(violation.field, violation.field) if ours else violation.field,
                description=_short(violation.description),
            )
            for violation in error.violations[:_MOST_VIOLATIONS]
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
        message = _short("; ".join(f"{violation.field}: {violation.description}" for violation in violations))
    if isinstance(error, OverloadedError):
        delay = Duration()
        delay.FromMilliseconds(error.retry_after_ms)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        # The core of gRPC obeys this key and ignores RetryInfo (gRFC A6), so both are sent.
        extra = (("grpc-retry-pushback-ms", str(error.retry_after_ms)),)
    return _status(code, message, details, extra)


def _short(text: str) -> str:
    """A bounded text: it may quote the caller, and all metadata together must stay below 8 KiB.

    Letters beyond ASCII travel as three letters a byte.
    """
    room = MAX_TEXT - 9  # for the mark of what is left out
    for index, letter in enumerate(text):
        room -= 1 if letter.isascii() else 3 * len(letter.encode(errors="replace"))
        if room < 0:
            return f"{text[:index]}…"
    return text


def internal_status(error_id: str) -> WireStatus:
    """The status of a failure that is our own: nothing of its inside, only an id that the log has."""
    details = [error_details_pb2.ErrorInfo(reason="InternalError", domain=_DOMAIN, metadata={"error_id": error_id})]
    message = f"the server failed on this request; its log has the reason under id {error_id}"
    return _status(grpc.StatusCode.INTERNAL, message, details, ())


def _status(
    code: grpc.StatusCode, message: str, details: list[Message], extra: tuple[tuple[str, str], ...]
) -> WireStatus:
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return WireStatus(code, message, (("grpc-status-details-bin", status.SerializeToString()), *extra))
