"""What a download over HTTPS must keep to."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["TransferRules", "is_allowed"]


@dataclass(frozen=True)
class TransferRules:
    """What a transfer must keep to.

    Attributes:
        max_bytes: refused if it is larger.
        exact_bytes: refused if it has another size; None: the size is not known.
        length_required: the server must say where the content ends, since no hash would show that some is missing.
        connect_timeout_s: seconds until a connection must stand.
        read_timeout_s: seconds that may pass without a byte.
        allow_loopback: for tests: http://127.0.0.1 will do.
    """

    max_bytes: int
    exact_bytes: int | None
    length_required: bool
    connect_timeout_s: float
    read_timeout_s: float
    allow_loopback: bool


def is_allowed(url: str, *, allow_loopback: bool) -> bool:
    """Whether files may come from there."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (
        parts.scheme == "https" or (allow_loopback and parts.scheme == "http" and host == "127.0.0.1")
    )
