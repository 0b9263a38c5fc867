"""The session that this machine was found to run fastest, if it was ever measured."""

from __future__ import annotations

from dataclasses import dataclass

from .artifact import Artifact
from .backends.registry import AUTO, installed_backends
from .errors import ArtifactError, BackendUnavailableError, InvalidRequestError
from .session import Session, SessionOptions
from .tuning import TunedSettings, Tuning


@dataclass(frozen=True)
class TunedSession:
    """A closed session with measured settings, and in one line why it was chosen."""

    session: Session
    reason: str


def tuned_session(artifact: Artifact, backend: str, options: SessionOptions) -> TunedSession | None:
    """The fastest measured session of a backend, or of all for "auto"; None where nothing measured fits.

    What the caller's options say goes before what was measured. Settings that no longer fit (another version of the
    runtime, another graph, a backend that is gone) are passed over.
    """
    tuning = Tuning.find(artifact)
    if tuning is None:
        return None
    for settings in tuning.settings:
        if backend not in {AUTO, settings.backend}:
            continue
        session = _session(artifact, settings, options)
        if session is not None:
            what = f"{settings.backend}: the fastest" if backend == AUTO else f"{backend}: asked for by name"
            return TunedSession(
                session,
                f"{what}, as nonesuch tune measured here on {tuning.created[:10]} "
                f"({settings.image_ms:.0f} ms an image; {session.identity}, {session.variant.file})",
            )
    return None


def _session(artifact: Artifact, settings: TunedSettings, options: SessionOptions) -> Session | None:
    backend = installed_backends().get(settings.backend)
    if backend is None or not backend.probe().usable:
        return None
    try:
        session = backend.session(artifact, settings.apply(options))
    except (ArtifactError, BackendUnavailableError, InvalidRequestError):
        return None  # the caller's options ask for something else; the plain way says what is wrong, if anything is
    measured = (settings.identity, settings.variant_sha256)
    return session if (session.identity, session.variant.sha256) == measured else None
