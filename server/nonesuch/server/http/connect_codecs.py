"""Codecs of messages over Connect and gRPC-Web, protobuf's bytes and its JSON, and translation of their errors."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from google.protobuf.json_format import MessageToJson, Parse, ParseError
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2
from protobuf.wkt import Any as AnyMessage

from nonesuch.engine.errors import DeadlineError, InvalidRequestError, NonesuchError, UnsupportedError

from ..rpc.status import WireStatus

MAX_JSON_BYTES = 256 << 10
"""Limit of a request in JSON. Parsing blocks the event loop, and 1 KiB of many small values takes more than 1 ms."""

_M = TypeVar("_M", bound=Message)


class BinaryCodec:
    """Protobuf's bytes."""

    def name(self) -> str:
        """Its name in a content type."""
        return "proto"

    def encode(self, message: Message) -> bytes:
        """The bytes of a message."""
        return message.SerializeToString()

    def decode(self, data: bytes | bytearray, message_class: type[_M]) -> _M:
        """The message in these bytes.

        Raises:
            InvalidRequestError: they are not a message of this class.
        """
        try:
            return message_class.FromString(bytes(data))
        except DecodeError as error:
            raise InvalidRequestError.of(
                "request", f"its {len(data)} bytes are not a message of this method"
            ) from error


class JsonCodec:
    """Protobuf's JSON. An unknown field is an error, because people write JSON by hand."""

    def name(self) -> str:
        """Its name in a content type."""
        return "json"

    def encode(self, message: Message) -> bytes:
        """The JSON of a message; its bytes fields are base64."""
        return MessageToJson(message, indent=None).encode()

    def decode(self, data: bytes | bytearray, message_class: type[_M]) -> _M:
        """The message in a JSON object.

        Raises:
            InvalidRequestError: it does not fit this method, or is too long.
        """
        if len(data) > MAX_JSON_BYTES:
            raise InvalidRequestError.of(
                "request", f"its JSON has {len(data)} bytes, at most {MAX_JSON_BYTES}; send more as application/proto"
            )
        try:
            return Parse(bytes(data), message_class())
        except (ParseError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequestError.of("request", " ".join(str(error).split()).rstrip(".")) from error


CODECS: tuple[Any, ...] = (BinaryCodec(), JsonCodec())
"""The codecs of a server."""


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
