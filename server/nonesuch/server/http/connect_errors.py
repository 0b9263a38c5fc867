"""Translates between our errors and those of the Connect library."""

from __future__ import annotations

import asyncio

from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from google.rpc import status_pb2
from protobuf.wkt import Any as AnyMessage

from nonesuch.engine.errors import (
    DeadlineError,
    InvalidRequestError,
    NonesuchError,
    UnsupportedError,
)

from ..rpc.status import WireStatus

_DETAILS = "grpc-status-details-bin"


class TooLargeError(NonesuchError):
    """A request over the size limit, with gRPC's code for it. A retry does not help."""

    code = "RESOURCE_EXHAUSTED"


def connect_error(status: WireStatus) -> ConnectError:
    """A status as the library sends it: code, message, and the details of google.rpc."""
    packed = next((value for key, value in status.trailing_metadata if key == _DETAILS), b"")
    details = status_pb2.Status.FromString(packed).details if isinstance(packed, bytes) else ()
    return ConnectError(
        Code[status.code.name],
        status.details,
        [ErrorDetail(AnyMessage(type_url=one.type_url, value=one.value)) for one in details],
    )


def our_error(error: Exception) -> BaseException:
    """The cause of a failed call: our own error as it is, or the library's as one of ours."""
    if not isinstance(error, ConnectError):
        return error
    if isinstance(error.__cause__, NonesuchError):  # from a codec
        return error.__cause__
    if error.code is Code.CANCELED:
        return asyncio.CancelledError()
    if error.code is Code.DEADLINE_EXCEEDED:
        return DeadlineError("the deadline passed before the response was ready; give the call more time")
    if error.code is Code.RESOURCE_EXHAUSTED:
        return TooLargeError(error.message)
    if error.code is Code.UNIMPLEMENTED:
        return UnsupportedError(error.message)
    if error.code is Code.UNKNOWN and error.__cause__ is not None:  # a bug in our code
        return error.__cause__
    return InvalidRequestError.of("request", error.message)
