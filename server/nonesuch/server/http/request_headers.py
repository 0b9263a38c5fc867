"""Request headers that shape the response: If-None-Match and Accept-Encoding."""

from __future__ import annotations

from starlette.datastructures import Headers


def is_known(headers: Headers, tag: str) -> bool:
    """Whether the client has the bytes of `tag`, quotes included (RFC 9110, section 13.1.2; weak comparison)."""
    given = headers.get("if-none-match", "")
    known = {one.strip().removeprefix("W/") for one in given.split(",")}
    return tag in known or given.strip() == "*"


def takes_gzip(headers: Headers) -> bool:
    """Whether the client accepts gzip (RFC 9110, section 12.5.3)."""
    for part in headers.get("accept-encoding", "").split(","):
        name, _, weight = part.partition(";")
        if name.strip().lower() in {"gzip", "*"}:
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
