"""How the clients connect: address, options, retries, deadline."""

from __future__ import annotations

import json
import math

import grpc
import grpc.aio

from .argument import one_float
from .errors import RequestError

__all__ = ["DEFAULT_DEADLINE_S", "checked_deadline", "open_aio_channel", "open_channel"]

DEFAULT_DEADLINE_S = 60.0
"""How long a call that gives one answer waits for it, retries included, in seconds."""

# gRPC's default of 4 MiB holds no raw image of 2048x2048.
_MAX_ANSWER_BYTES = 64 * 1024 * 1024
_LONGEST_DEADLINE_S = 1e9  # 31 years; gRPC counts nanoseconds in 64 bits, and what overflows them expires at once
_SERVICES = ("nonesuch.v1.GenerationService", "nonesuch.v1.ModelService")

# gRPC's core retries by this policy (gRFC A6) and obeys the server's grpc-retry-pushback-ms in place of the backoff.
# Every call may be repeated: none changes anything on the server.
_RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.2s",
    "maxBackoff": "5s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
}
# Each failure takes a token and each success gives back a half; below half of them nothing is retried, so that many
# callers do not multiply the load of a server that is down.
_RETRY_THROTTLING = {"maxTokens": 100, "tokenRatio": 0.5}

_Options = list[tuple[str, int | str]]


def open_channel(address: str, credentials: grpc.ChannelCredentials | None, *, retries: bool) -> grpc.Channel:
    """Make a channel; nothing is connected before the first call.

    Raises:
        RequestError: the address is not one.
    """
    target, options = _checked(address), _options(retries)
    if credentials is None:
        return grpc.insecure_channel(target, options)
    return grpc.secure_channel(target, credentials, options)


def open_aio_channel(address: str, credentials: grpc.ChannelCredentials | None, *, retries: bool) -> grpc.aio.Channel:
    """Make a channel for the running event loop; nothing is connected before the first call.

    Raises:
        RequestError: the address is not one.
    """
    target, options = _checked(address), _options(retries)
    if credentials is None:
        return grpc.aio.insecure_channel(target, options)
    return grpc.aio.secure_channel(target, credentials, options)


def checked_deadline(deadline_s: float | None) -> float | None:
    """The deadline of a call in seconds; None is never.

    Raises:
        RequestError: it is not positive and finite: gRPC would fail late, or take it for never.
    """
    if deadline_s is None:
        return None
    seconds = one_float(deadline_s, "deadline_s")
    if not (math.isfinite(seconds) and seconds > 0):
        raise RequestError.of("deadline_s", f"{seconds} is out of range; it is more than 0, and finite")
    return min(seconds, _LONGEST_DEADLINE_S)


def _options(retries: bool) -> _Options:
    options: _Options = [("grpc.max_receive_message_length", _MAX_ANSWER_BYTES), ("grpc.enable_retries", int(retries))]
    if retries:
        config = {
            "methodConfig": [{"name": [{"service": name} for name in _SERVICES], "retryPolicy": _RETRY_POLICY}],
            "retryThrottling": _RETRY_THROTTLING,
        }
        options.append(("grpc.service_config", json.dumps(config)))
    return options


def _checked(address: str) -> str:
    # gRPC would look up "http" as a host, and take port 443 where none is given: both fail late and say little.
    if address.startswith(("http://", "https://")):
        raise RequestError.of("address", f"{address!r} is a URL; write host:port, or a gRPC target as dns:///host:port")
    if ":" not in address:
        raise RequestError.of("address", f"{address!r} has no port; write host:port")
    return address
