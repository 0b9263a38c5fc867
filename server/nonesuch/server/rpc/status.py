"""How a call failed, as gRPC says it: a status with google.rpc details; and the names of fields in nonesuch.v1."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from ..access.call_record import Failure

__all__ = ["FIELD_PATHS", "WireStatus", "wire_status"]

_DOMAIN = "nonesuch.v1"
FIELD_PATHS = {
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
    "mixing.source.seed": "synthesis.mixing.source.seed",
    "noise_mode": "synthesis.noise_mode",
    "transform": "synthesis.transform",
    "format": "image.format",
    "quality": "image.quality",
    "size": "image.size",
}
"""Where the fields of the engine are in the requests of nonesuch.v1."""


@dataclass(frozen=True)
class WireStatus:
    """A status as `context.abort` takes it."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def wire_status(failure: Failure) -> WireStatus:
    """The status of a failure; its details carry BadRequest or RetryInfo, and always ErrorInfo."""
    error_info = error_details_pb2.ErrorInfo(reason=failure.reason, domain=_DOMAIN)
    if failure.error_id:
        error_info.metadata["error_id"] = failure.error_id
    details: list[Message] = [error_info]
    extra: tuple[tuple[str, str], ...] = ()
    if failure.violations:
        violation = error_details_pb2.BadRequest.FieldViolation
        violations = [violation(field=one.field, description=one.description) for one in failure.violations]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    if failure.retry_after_ms is not None:
        delay = Duration()
        delay.FromMilliseconds(failure.retry_after_ms)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        # The core of gRPC obeys this key and ignores RetryInfo (gRFC A6), so both are sent.
        extra = (("grpc-retry-pushback-ms", str(failure.retry_after_ms)),)
    code = grpc.StatusCode[failure.code]
    status = status_pb2.Status(code=code.value[0], message=failure.message)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return WireStatus(code, failure.message, (("grpc-status-details-bin", status.SerializeToString()), *extra))
