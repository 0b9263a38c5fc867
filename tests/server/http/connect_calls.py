"""Connect calls with httpx, with a five-byte prefix before each message of a stream."""

from __future__ import annotations

import json
import struct
from typing import Any

import httpx

GENERATION = "/nonesuch.v1.GenerationService"
MODELS = "/nonesuch.v1.ModelService"
_END = 0b10


def envelope(data: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BI", flags, len(data)) + data


def envelopes(body: bytes) -> list[tuple[int, bytes]]:
    found = []
    while body:
        flags, length = struct.unpack(">BI", body[:5])
        assert len(body) >= 5 + length
        found.append((flags, body[5 : 5 + length]))
        body = body[5 + length :]
    return found


async def call(web: httpx.AsyncClient, path: str, message: dict[str, Any], **headers: str) -> httpx.Response:
    """A unary call with JSON."""
    return await web.post(path, json=message, headers={name.replace("_", "-"): text for name, text in headers.items()})


async def stream(
    web: httpx.AsyncClient, path: str, message: dict[str, Any], **headers: str
) -> tuple[list[dict[str, Any]], dict[str, Any], httpx.Response]:
    """A server stream with JSON: its messages, its end-of-stream message, and the HTTP response."""
    answer = await web.post(
        path,
        content=envelope(json.dumps(message).encode()),
        headers={
            "content-type": "application/connect+json",
            **{name.replace("_", "-"): text for name, text in headers.items()},
        },
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/connect+json"
    *messages, (flags, end) = envelopes(answer.content)
    assert flags == _END
    assert [flags for flags, _ in messages] == [0] * len(messages)
    return [json.loads(data) for _, data in messages], json.loads(end), answer
