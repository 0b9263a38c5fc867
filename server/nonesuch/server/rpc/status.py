"""Converts a failure to a gRPC status with google.rpc details; has the field paths of nonesuch.v1."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from ..access.call_record import Failure

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
"""The path in nonesuch.v1 of each field of the engine."""


@dataclass(frozen=True)
class WireStatus:
    """The arguments of `context.abort`."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def wire_status(failure: Failure) -> WireStatus:
    """The status of a failure, with ErrorInfo and, if they apply, BadRequest and RetryInfo."""
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
        # gRPC's core uses this key and ignores RetryInfo (gRFC A6), so both are sent.
        extra = (("grpc-retry-pushback-ms", str(failure.retry_after_ms)),)
    code = grpc.StatusCode[failure.code]
    status = status_pb2.Status(code=code.value[0], message=failure.message)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return WireStatus(code, failure.message, (("grpc-status-details-bin", status.SerializeToString()), *extra))
