"""The fastest session on this machine, if `nonesuch tune` measured it."""

from __future__ import annotations

from dataclasses import dataclass

from .artifact import Artifact
from .backends.registry import AUTO, installed_backends
from .errors import ArtifactError, BackendUnavailableError, InvalidRequestError
from .session import Session, SessionOptions
from .tuning import TunedSettings, Tuning


@dataclass(frozen=True)
class TunedSession:
    """A closed session with measured settings, and the reason for the choice in one line."""

    session: Session
    reason: str


def tuned_session(artifact: Artifact, backend: str, options: SessionOptions) -> TunedSession | None:
    """The fastest measured session of a backend, or of all for "auto"; None if no measured settings fit.

    The caller's options override measured settings. Outdated settings (another version of the runtime, another graph, a
    backend that was removed) are skipped.
    """
    tuning = Tuning.find(artifact)
    if tuning is None:
        return None
    for settings in tuning.settings:
        if backend not in {AUTO, settings.backend}:
            continue
        session = _session(artifact, settings, options)
        if session is not None:
            choice = f"{settings.backend}: the fastest" if backend == AUTO else f"{backend}: requested by name"
            return TunedSession(
                session,
                f"{choice}, as nonesuch tune measured on {tuning.created[:10]} "
                f"({settings.image_ms:.0f} ms per image; {session.identity}, {session.variant.file})",
            )
    return None


def _session(artifact: Artifact, settings: TunedSettings, options: SessionOptions) -> Session | None:
    backend = installed_backends().get(settings.backend)
    if backend is None or not backend.probe().usable:
        return None
    try:
        session = backend.session(artifact, settings.apply(options))
    except (ArtifactError, BackendUnavailableError, InvalidRequestError):
        return None  # they conflict with the caller's options; the untuned path reports any real error
    measured = (settings.identity, settings.variant_sha256)
    return session if (session.identity, session.variant.sha256) == measured else None
