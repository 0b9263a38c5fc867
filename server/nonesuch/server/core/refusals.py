"""What is said in several places to callers who cannot be served now."""

from __future__ import annotations

from nonesuch.engine.errors import DeviceLostError, UnavailableError

__all__ = ["device_lost", "shutting_down"]


def shutting_down() -> UnavailableError:
    """The server drains."""
    return UnavailableError("the server is shutting down; call another one, or this one after its restart")


def device_lost(error: DeviceLostError) -> UnavailableError:
    """The device hangs or is gone."""
    return UnavailableError(f"the server has lost its device ({error.message}); call another one")
