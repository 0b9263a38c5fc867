"""Between our errors and those of the Connect library, in both directions."""

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

__all__ = ["TooLargeError", "connect_error", "our_error"]

_DETAILS = "grpc-status-details-bin"


class TooLargeError(NonesuchError):
    """A request beyond the bound on its size. gRPC has this code for it too; trying again does not help."""

    code = "RESOURCE_EXHAUSTED"


def connect_error(status: WireStatus) -> ConnectError:
    """A status as the library sends it: the code, the one line, and the details of google.rpc."""
    packed = next((value for key, value in status.trailing_metadata if key == _DETAILS), b"")
    details = status_pb2.Status.FromString(packed).details if isinstance(packed, bytes) else ()
    return ConnectError(
        Code[status.code.name],
        status.details,
        [ErrorDetail(AnyMessage(type_url=one.type_url, value=one.value)) for one in details],
    )


def our_error(error: Exception) -> BaseException:
    """What is behind an error that ends a call: one of ours as it is, and what the library found in our terms."""
    if not isinstance(error, ConnectError):
        return error
    if isinstance(error.__cause__, NonesuchError):  # of a codec
        return error.__cause__
    if error.code is Code.CANCELED:
        return asyncio.CancelledError()
    if error.code is Code.DEADLINE_EXCEEDED:
        return DeadlineError("the deadline passed before the answer was made; give the call more time")
    if error.code is Code.RESOURCE_EXHAUSTED:
        return TooLargeError(error.message)
    if error.code is Code.UNIMPLEMENTED:
        return UnsupportedError(error.message)
    if error.code is Code.UNKNOWN and error.__cause__ is not None:  # a failure that is our own
        return error.__cause__
    return InvalidRequestError.of("request", error.message)
