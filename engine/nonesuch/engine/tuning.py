"""The results of `nonesuch tune` on this machine, and how the engine applies them.

    $NONESUCH_HOME/cache/<model id>/<machine id>/tuning.json

A tuning is not part of an artifact, because it depends on the machine. It is for the measured versions of the runtimes
and hashes of the graphs; if either has changed, it is ignored, and this is reported.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from .artifact import Artifact
from .atomic_file import staged_file
from .backends.registry import AUTO, installed_backends
from .errors import ArtifactError, BackendUnavailableError, InvalidRequestError
from .home import Home
from .machine import machine_id
from .session import Session, SessionOptions

FORMAT = 1
TUNING_FILE = "tuning.json"


class TunedSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fastest settings of one backend on this machine.

    Attributes:
        backend: its name.
        identity: the session's: runtime, version and device.
        variant_sha256: of the graph.
        upsampling: the graph's form of up-sampling.
        precision: the graph's precision.
        threads: threads of the session; None is the runtime's own choice.
        lanes: images of a batch rendered side by side.
        image_ms: one image alone, median.
        batch_image_ms: an image in a batch of `lanes`, median.
    """

    backend: str
    identity: str
    variant_sha256: str
    upsampling: str
    precision: str
    threads: int | None
    lanes: int
    image_ms: float
    batch_image_ms: float

    def apply(self, options: SessionOptions) -> SessionOptions:
        """The options, with the measured values for those that the caller left open."""
        return replace(
            options,
            threads=self.threads if options.threads is None else options.threads,
            lanes=self.lanes if options.lanes is None and options.threads is None else options.lanes,
            upsampling=self.upsampling if options.upsampling is None else options.upsampling,
            precision=self.precision if options.precision is None else options.precision,
        )


class Tuning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The measured settings of every backend, the fastest first."""

    format: int = FORMAT
    created: str  # UTC, ISO 8601
    cpu: str
    settings: tuple[TunedSettings, ...]

    @staticmethod
    def path(artifact: Artifact, home: Home | None = None) -> Path:
        """The file of a model's tuning on this machine."""
        return (home or Home.default()).machine_cache(artifact.manifest.model_id, machine_id()) / TUNING_FILE

    @classmethod
    def find(cls, artifact: Artifact, home: Home | None = None) -> Tuning | None:
        """The tuning of a model on this machine; None if there is none that this version can read."""
        try:
            tuning = msgspec.json.decode(cls.path(artifact, home).read_bytes(), type=cls)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None  # a cache: unusable is as good as absent
        return tuning if tuning.format == FORMAT else None

    def save(self, artifact: Artifact, home: Home | None = None) -> Path:
        """Write it in one step, replacing an older one; return its path."""
        path = self.path(artifact, home)
        path.parent.mkdir(parents=True, exist_ok=True)
        with staged_file(path) as staging:
            staging.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")
        return path

    def fastest(self) -> TunedSettings:
        """The settings of the fastest backend."""
        return self.settings[0]

    def of(self, backend: str) -> TunedSettings | None:
        """The settings of one backend, if it was measured."""
        return next((settings for settings in self.settings if settings.backend == backend), None)


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
