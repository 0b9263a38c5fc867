"""The caller of a call: its name, its scopes and its rate limit."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from nonesuch.engine.errors import PermissionDeniedError


@dataclass(frozen=True)
class Caller:
    """A key's name, the name in a client's certificate, or an address."""

    name: str
    scopes: frozenset[str]
    images_per_s: float | None = None  # default: the server's limit
    burst_images: int | None = None

    def require(self, scope: str) -> None:
        """Check that the caller has a scope.

        Raises:
            PermissionDeniedError: it does not.
        """
        if scope not in self.scopes:
            has = ", ".join(sorted(self.scopes)) or "none"
            raise PermissionDeniedError(f"this call needs the scope {scope!r}; the key {self.name!r} has {has}")


CURRENT_CALLER: ContextVar[Caller] = ContextVar("CURRENT_CALLER")
"""The caller of the current task's call."""
