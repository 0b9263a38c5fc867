"""Converts the settings of the transport to gRPC channel arguments."""

from __future__ import annotations

from ..settings import ServerSettings

MAX_REQUEST_BYTES = 1 << 20
MAX_METADATA_BYTES = 16 << 10
_MIN_PING_INTERVAL_MS = 10_000  # clients that ping more often are disconnected
_PING_TIMEOUT_MS = 20_000


def transport_options(settings: ServerSettings) -> list[tuple[str, int]]:
    """The channel arguments of a server, by the names of grpc_types.h."""
    options = [
        # Otherwise a second server could bind the same port, and each would get some of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.max_concurrent_streams", settings.max_calls_per_connection),
        ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_INTERVAL_MS),
    ]
    if settings.keepalive_s:
        options += [
            ("grpc.keepalive_time_ms", _ms(settings.keepalive_s)),
            ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
            ("grpc.keepalive_permit_without_calls", 1),
        ]
    if settings.connection_age_s:
        options += [
            ("grpc.max_connection_age_ms", _ms(settings.connection_age_s)),
            ("grpc.max_connection_age_grace_ms", _ms(settings.connection_grace_s)),
        ]
    if settings.max_connections is not None:
        options.append(("grpc.max_allowed_incoming_connections", settings.max_connections))
    return options


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1e3))
