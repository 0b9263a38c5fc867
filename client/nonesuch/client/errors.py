"""Every error that the client raises on purpose, and the gRPC code behind each one.

    ClientError
    ├── RequestError          INVALID_ARGUMENT     values that the caller must change; `violations` lists them
    ├── ModelNotFoundError    NOT_FOUND            the server has no model of that name
    ├── AccessError           UNAUTHENTICATED,     the server requires another API key, or one that allows more
    │                         PERMISSION_DENIED
    ├── OverloadedError       RESOURCE_EXHAUSTED   full queue, or a limit of this key; try again after `retry_after_s`
    ├── DeadlineError         DEADLINE_EXCEEDED    no answer within deadline_s
    ├── UnavailableError      UNAVAILABLE          nothing listens, or the server is starting or draining
    ├── UnsupportedError      UNIMPLEMENTED        the server does not do this
    └── ServerError           every other code     the server failed, or a proxy before it

Each message is one line: the request, the reason that it failed, and the next step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped, unused-ignore]

_DETAILS_KEY = "grpc-status-details-bin"
_Detail = TypeVar("_Detail", bound=Message)


class FieldViolation(NamedTuple):
    """One field of a request that is wrong, and why."""

    field: str
    description: str


class ClientError(Exception):
    """The root of the tree: catch this to catch everything that the client raises on purpose.

    `code` is the gRPC status, `details` the server's text, in one line and without the client's advice.
    """

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN

    # One positional argument and defaults for the rest, here and below: an exception can be pickled only so, and a
    # worker process has to send it to its parent.
    def __init__(self, message: str, *, code: grpc.StatusCode | None = None, details: str = "") -> None:
        super().__init__(_one_line(message))
        self.details = _one_line(details)
        if code is not None:
            self.code = code


class RequestError(ClientError):
    """Values that the caller must change; `violations` lists them, where the server or the client knows the fields."""

    code = grpc.StatusCode.INVALID_ARGUMENT

    def __init__(self, message: str, *, details: str = "", violations: tuple[FieldViolation, ...] = ()) -> None:
        super().__init__(message, details=details)
        self.violations = violations

    @classmethod
    def of(cls, field: str, description: str) -> RequestError:
        """A refusal of one field by the client itself, before any call."""
        text = f"{field}: {description}"
        return cls(text, details=text, violations=(FieldViolation(field, description),))


class ModelNotFoundError(ClientError):
    """The server has no model of that name."""

    code = grpc.StatusCode.NOT_FOUND


class AccessError(ClientError):
    """No API key or an unknown one (UNAUTHENTICATED), or one that does not allow this (PERMISSION_DENIED)."""

    code = grpc.StatusCode.UNAUTHENTICATED


class OverloadedError(ClientError):
    """The queue is full; try again after `retry_after_s` seconds, None if the server gave no time."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, message: str, *, details: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, details=details)
        self.retry_after_s = retry_after_s


class DeadlineError(ClientError):
    """The deadline passed before the answer came."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class UnavailableError(ClientError):
    """No server could be reached, or it is starting or draining."""

    code = grpc.StatusCode.UNAVAILABLE


class UnsupportedError(ClientError):
    """A call or field that this server does not serve."""

    code = grpc.StatusCode.UNIMPLEMENTED


class ServerError(ClientError):
    """Every other failure; `code` is its gRPC status."""


def client_error(error: grpc.RpcError, address: str) -> ClientError:
    """Translate the error of a call to the server at `address`; grpc.aio.AioRpcError is a grpc.RpcError too."""
    code, details = error.code(), _one_line(error.details() or "no details given")
    match code:
        case grpc.StatusCode.INVALID_ARGUMENT:
            violations = _violations(error)
            return RequestError(f"{address} refused the request: {details}", details=details, violations=violations)
        case grpc.StatusCode.NOT_FOUND:
            advice = "models() lists its models"
            return ModelNotFoundError(f"{address} has no such model: {details}; {advice}", details=details)
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            return AccessError(f"{address} does not allow this: {details}", code=code, details=details)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            delay_s = _retry_after_s(error)
            advice = "try again later" if delay_s is None else f"try again in {delay_s:g} s"
            message = f"{address} is overloaded: {details}; {advice}"
            return OverloadedError(message, details=details, retry_after_s=delay_s)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            advice = "set a larger deadline_s, or ask for fewer images"
            return DeadlineError(f"{address} did not answer within the deadline: {details}; {advice}", details=details)
        case grpc.StatusCode.UNAVAILABLE:
            advice = "check the address and that the server runs, or wait for it with wait_for_ready=True"
            return UnavailableError(f"no server is ready at {address}: {details}; {advice}", details=details)
        case grpc.StatusCode.UNIMPLEMENTED:
            advice = "leave that out, or update the server"
            return UnsupportedError(f"{address} does not do this: {details}; {advice}", details=details)
        case grpc.StatusCode.CANCELLED:
            advice = "call again if that was not intended"
            return ServerError(f"the call to {address} was cancelled: {details}; {advice}", code=code, details=details)
    message = f"{address} failed with {code.name}: {details}; the server's log has more"
    return ServerError(message, code=code, details=details)


def _violations(error: grpc.RpcError) -> tuple[FieldViolation, ...]:
    return tuple(
        FieldViolation(violation.field, violation.description)
        for refusal in _details(error, error_details_pb2.BadRequest)
        for violation in refusal.field_violations
    )


def _retry_after_s(error: grpc.RpcError) -> float | None:
    for info in _details(error, error_details_pb2.RetryInfo):
        return float(info.retry_delay.ToTimedelta().total_seconds())
    return None


def _details(error: grpc.RpcError, kind: type[_Detail]) -> Iterator[_Detail]:
    """The details of one kind in google.rpc.Status, which travels in the trailing metadata."""
    metadata: Iterable[tuple[str, Any]] = error.trailing_metadata() or ()  # type: ignore[assignment]
    for key, value in metadata:
        if key != _DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            status = status_pb2.Status.FromString(value)
            for packed in status.details:
                message = kind()
                if packed.Unpack(message):
                    yield message
        except DecodeError:
            # A proxy may cut long metadata; the code and its text are still there.
            continue


def _one_line(text: str) -> str:
    return " ".join(text.split())
