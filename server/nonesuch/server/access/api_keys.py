"""API keys, their callers and scopes: only hashes are stored, and they are compared in constant time.

A key is 32 random bytes, so SHA-256 is enough; slow hashes are needed only for passwords, which can be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from nonesuch.engine.errors import PermissionDeniedError, UnauthenticatedError

from ..settings import KeySettings

_PREFIX = "nsk_"  # lets secret scanners find leaked keys
_BEARER = "bearer "
_MAX_KEY_LENGTH = 256
_ALL_SCOPES = frozenset({"generate", "bulk", "admin"})


def new_key() -> str:
    """A new random key."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_of_key(key: str) -> str:
    """The SHA-256 of a key in hex, as the settings store it."""
    return hashlib.sha256(key.encode()).hexdigest()


class KeyRing:
    """The keys of a server; without keys, every caller has all scopes."""

    def __init__(self, keys: Sequence[KeySettings]) -> None:
        self._keys = tuple(keys)

    def caller(self, authorization: str | None, peer: str) -> Caller:
        """The caller, by the `authorization` metadata of the call.

        Args:
            authorization: `Bearer KEY`; None if the metadata is missing.
            peer: the caller's name if the server has no keys: an address, or the name in a client's certificate.

        Raises:
            UnauthenticatedError: the key is missing or unknown.
        """
        if not self._keys:
            return Caller(peer, _ALL_SCOPES)
        if authorization is None:
            raise UnauthenticatedError("this server wants an API key; send the metadata authorization: Bearer KEY")
        if not authorization.lower().startswith(_BEARER):
            raise UnauthenticatedError(
                "the metadata authorization is not a Bearer token; send authorization: Bearer KEY"
            )
        hashed = hash_of_key(authorization[len(_BEARER) :].strip()[:_MAX_KEY_LENGTH])
        found = None
        for key in self._keys:  # without an early exit, which would leak the key's position
            if hmac.compare_digest(hashed, key.sha256):
                found = key
        if found is None:
            raise UnauthenticatedError("the API key is not known to this server; it may have been revoked")
        return Caller(found.name, frozenset(found.scopes), found.images_per_s, found.burst_images)


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


ADMIN_SERVICE = "/nonesuch.v1.AdminService/"
_SCOPES = {
    "/nonesuch.v1.GenerationService/": "generate",
    "/inference.GRPCInferenceService/ModelInfer": "generate",
    # These two can load a model.
    "/nonesuch.v1.ModelService/GetModel": "generate",
    "/inference.GRPCInferenceService/ModelMetadata": "generate",
    ADMIN_SERVICE: "admin",
}


def scope_of(method: str) -> str | None:
    """The scope that a method requires; None if any key is enough."""
    return next((scope for prefix, scope in _SCOPES.items() if method.startswith(prefix)), None)
