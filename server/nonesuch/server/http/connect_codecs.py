"""How messages are read and written over Connect and gRPC-Web: as bytes of protobuf, or as its JSON."""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.json_format import MessageToJson, Parse, ParseError
from google.protobuf.message import DecodeError, Message

from nonesuch.engine.errors import InvalidRequestError

__all__ = ["CODECS", "MAX_JSON_BYTES", "BinaryCodec", "JsonCodec"]

MAX_JSON_BYTES = 256 << 10
"""Of a request in JSON. Python reads it on the event loop, and takes more than 1 ms for 1 KiB of many small values."""

_M = TypeVar("_M", bound=Message)


class BinaryCodec:
    """Protobuf's bytes."""

    def name(self) -> str:
        """As it stands in a content-type."""
        return "proto"

    def encode(self, message: Message) -> bytes:
        """The bytes of a message."""
        return message.SerializeToString()

    def decode(self, data: bytes | bytearray, message_class: type[_M]) -> _M:
        """The message of bytes.

        Raises:
            InvalidRequestError: they are none.
        """
        try:
            return message_class.FromString(bytes(data))
        except DecodeError as error:
            raise InvalidRequestError.of("request", f"its {len(data)} bytes are no message of this method") from error


class JsonCodec:
    """The JSON of protobuf. A name that is not known is a mistake, not a wish: JSON is what people write by hand."""

    def name(self) -> str:
        """As it stands in a content-type."""
        return "json"

    def encode(self, message: Message) -> bytes:
        """The JSON of a message; its bytes fields are base64."""
        return MessageToJson(message, indent=None).encode()

    def decode(self, data: bytes | bytearray, message_class: type[_M]) -> _M:
        """The message of a JSON object.

        Raises:
            InvalidRequestError: it is none of this method, or too long.
        """
        if len(data) > MAX_JSON_BYTES:
            raise InvalidRequestError.of(
                "request", f"{len(data)} bytes of JSON; it may have {MAX_JSON_BYTES}, and more as application/proto"
            )
        try:
            return Parse(bytes(data), message_class())
        except (ParseError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequestError.of("request", " ".join(str(error).split()).rstrip(".")) from error


CODECS: tuple[Any, ...] = (BinaryCodec(), JsonCodec())
"""Those that a server speaks."""
