"""API keys: only their hashes are kept, and they are compared in constant time.

A key is 32 random bytes, so a plain SHA-256 of it cannot be guessed back; slow password hashes are for passwords.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence

from nonesuch.engine.errors import UnauthenticatedError

from ..settings import KeySettings
from .caller import Caller

__all__ = ["KeyRing", "hash_of_key", "new_key"]

_PREFIX = "nsk_"  # so that scanners for leaked secrets can find them
_BEARER = "bearer "
_LONGEST_KEY = 256
_ALL_SCOPES = frozenset({"generate", "bulk", "admin"})


def new_key() -> str:
    """A fresh key."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_of_key(key: str) -> str:
    """What the settings keep of a key: its SHA-256, in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


class KeyRing:
    """The keys that a server knows; without any, everybody may do everything."""

    def __init__(self, keys: Sequence[KeySettings]) -> None:
        self._keys = tuple(keys)

    def caller(self, authorization: str | None, peer: str) -> Caller:
        """Who calls, by the `authorization` metadata of the call.

        Args:
            authorization: `Bearer KEY`, or None where there is none.
            peer: who it is where no key is asked for: an address, or the name in a client's certificate.

        Raises:
            UnauthenticatedError: there are keys, and this is none of them.
        """
        if not self._keys:
            return Caller(peer, _ALL_SCOPES)
        if authorization is None:
            raise UnauthenticatedError(
                "this server wants an API key; send it as the metadata authorization: Bearer KEY"
            )
        if not authorization.lower().startswith(_BEARER):
            raise UnauthenticatedError("the metadata authorization is no Bearer token; send authorization: Bearer KEY")
        hashed = hash_of_key(authorization[len(_BEARER) :].strip()[:_LONGEST_KEY])
        found = None
        for key in self._keys:  # all of them, so that the time says nothing of which one it was
            if hmac.compare_digest(hashed, key.sha256):
                found = key
        if found is None:
            raise UnauthenticatedError("the API key is not known to this server; it may have been revoked")
        return Caller(found.name, frozenset(found.scopes), found.images_per_s, found.burst_images)
