"""The connections of the clients: addresses, options, TLS, retries, key, deadline.

Several addresses, or a dns:/// target, are balanced by gRPC itself: calls go to the servers in turn, and a server that
says NOT_SERVING (grpc.health.v1, watched on every connection) gets no calls.
"""

from __future__ import annotations

import ipaddress
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from .argument import one_float
from .errors import RequestError

_File = str | os.PathLike[str]

DEFAULT_DEADLINE_S = 60.0
"""Deadline of a call with one answer, in seconds; retries are included."""

# gRPC's default of 4 MiB is too small for a raw image of 2048x2048.
_MAX_ANSWER_BYTES = 64 * 1024 * 1024
_MAX_DEADLINE_S = 1e9  # 31 years; gRPC counts nanoseconds in 64 bits, and a deadline that overflows expires at once
_BALANCED = ("ipv4:", "ipv6:", "dns:")
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
# Each failure takes a token and each success gives back half a token; below half of maxTokens there are no retries, so
# that many callers do not multiply the load of a server that is down.
_RETRY_THROTTLING = {"maxTokens": 100, "tokenRatio": 0.5}

_Options = list[tuple[str, int | str]]


def open_channel(target: str, credentials: grpc.ChannelCredentials | None, *, retries: bool) -> grpc.Channel:
    """Make a channel to a target of `target_of`; it connects at the first call."""
    options = _options(target, retries)
    if credentials is None:
        return grpc.insecure_channel(target, options)
    return grpc.secure_channel(target, credentials, options)


def open_aio_channel(target: str, credentials: grpc.ChannelCredentials | None, *, retries: bool) -> grpc.aio.Channel:
    """As `open_channel`, for the running event loop."""
    options = _options(target, retries)
    if credentials is None:
        return grpc.aio.insecure_channel(target, options)
    return grpc.aio.secure_channel(target, credentials, options)


def target_of(address: str | Sequence[str]) -> str:
    """One address, or several, as one target of gRPC.

    Raises:
        RequestError: one is not an address, or several are not all IP addresses of one kind.
    """
    if isinstance(address, str):
        return _check_address(address)
    addresses = [_check_address(one) for one in address]
    if len(addresses) == 1:
        return addresses[0]
    kinds = {_ip_version(one) for one in addresses}
    if len(kinds) != 1 or kinds == {0}:
        problem = "give several as IP addresses of one kind, such as 10.0.0.1:50051; for names use dns:///host:port"
        raise RequestError.of("address", f"{', '.join(addresses) or 'none'}: {problem}")
    return f"ipv{kinds.pop()}:{','.join(addresses)}"


def call_metadata(api_key: str | None) -> tuple[tuple[str, str], ...]:
    """The metadata of every call.

    Raises:
        RequestError: the key cannot be sent; the error does not quote it.
    """
    if api_key is None:
        return ()
    if not (api_key.isascii() and api_key.isprintable() and api_key.strip() == api_key and api_key):
        raise RequestError.of("api_key", "it is not a key; use printable ASCII characters, with no space at either end")
    return (("authorization", f"Bearer {api_key}"),)


def check_deadline(deadline_s: float | None) -> float | None:
    """The deadline of a call in seconds; None is never.

    Raises:
        RequestError: it is not positive and finite: gRPC would fail late, or wait for ever.
    """
    if deadline_s is None:
        return None
    seconds = one_float(deadline_s, "deadline_s")
    if not (math.isfinite(seconds) and seconds > 0):
        raise RequestError.of("deadline_s", f"{seconds} is out of range; it is more than 0, and finite")
    return min(seconds, _MAX_DEADLINE_S)


def _options(target: str, retries: bool) -> _Options:
    # enable_retries is always on: without a policy, gRPC repeats only calls that no server has seen, such as those sent
    # while a connection ends (gRFC A6, transparent retries).
    options: _Options = [("grpc.max_receive_message_length", _MAX_ANSWER_BYTES), ("grpc.enable_retries", 1)]
    config: dict[str, Any] = {}
    if retries:
        config["methodConfig"] = [{"name": [{"service": name} for name in _SERVICES], "retryPolicy": _RETRY_POLICY}]
        config["retryThrottling"] = _RETRY_THROTTLING
    if target.startswith(_BALANCED):
        config["loadBalancingConfig"] = [{"round_robin": {}}]
        config["healthCheckConfig"] = {"serviceName": _SERVICES[0]}
    if config:
        options.append(("grpc.service_config", json.dumps(config)))
    return options


def _ip_version(address: str) -> int:
    host = address.rpartition(":")[0]
    try:
        return ipaddress.ip_address(host.strip("[]")).version
    except ValueError:
        return 0


def _check_address(address: str) -> str:
    # gRPC would look up "http" as a host, and take port 443 where none is given: both fail late and say little.
    if address.startswith(("http://", "https://")):
        raise RequestError.of("address", f"{address!r} is a URL; write host:port, or a gRPC target as dns:///host:port")
    if address.startswith("unix:"):
        return address
    if ":" not in address:
        raise RequestError.of("address", f"{address!r} has no port; write host:port")
    return address


def tls_credentials(
    ca: _File | None = None, *, certificate: _File | None = None, private_key: _File | None = None
) -> grpc.ChannelCredentials:
    """Credentials of a client for a server with TLS.

    Args:
        ca: PEM file of the authority that signed the server's certificate; None: gRPC's default authorities.
        certificate: PEM file of the client's own chain, for servers that require one (mTLS).
        private_key: PEM file of the key of `certificate`; required with it.

    Raises:
        RequestError: a certificate without a key, a key without a certificate, or a file that cannot be read.
    """
    if (certificate is None) != (private_key is None):
        raise RequestError.of("tls_certificate", "a certificate and its private key go together; give both")
    return grpc.ssl_channel_credentials(
        root_certificates=_read(ca, "tls_ca"),
        private_key=_read(private_key, "tls_private_key"),
        certificate_chain=_read(certificate, "tls_certificate"),
    )


def _read(path: _File | None, field: str) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise RequestError.of(field, f"{os.fspath(path)} cannot be read ({error.strerror}); give a PEM file") from error
