"""Who makes a call, as far as the server cares: a name to count by, what it may do, and limits of its own."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from nonesuch.engine.errors import PermissionDeniedError

__all__ = ["CURRENT_CALLER", "Caller"]


@dataclass(frozen=True)
class Caller:
    """A key's owner, the name in a client's certificate, or else an address."""

    name: str
    scopes: frozenset[str]
    images_per_s: float | None = None  # None: the server's own limit
    burst_images: int | None = None

    def require(self, scope: str) -> None:
        """Pass if the caller may do this.

        Raises:
            PermissionDeniedError: the scope is not among its own.
        """
        if scope not in self.scopes:
            has = ", ".join(sorted(self.scopes)) or "none"
            raise PermissionDeniedError(f"this needs the scope {scope!r}; the key {self.name!r} has {has}")


CURRENT_CALLER: ContextVar[Caller] = ContextVar("CURRENT_CALLER")
"""The caller of the call that the running task serves."""
