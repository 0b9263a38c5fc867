"""Codecs of messages over Connect and gRPC-Web: protobuf's bytes and its JSON."""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.json_format import MessageToJson, Parse, ParseError
from google.protobuf.message import DecodeError, Message

from nonesuch.engine.errors import InvalidRequestError

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
