"""The interface of a backend; finds the installed ones and chooses one. Never falls back silently.

A backend registers under the entry point group `nonesuch.backends`, so other packages can add backends. Its module must
import cheaply: its methods import the runtime.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Protocol

from ..artifact import Artifact
from ..errors import BackendUnavailableError
from ..session import Session, SessionOptions

AUTO = "auto"


@dataclass(frozen=True)
class Choice:
    """A backend, and the reason for the choice in one line."""

    backend: Backend
    reason: str


def installed_backends() -> dict[str, Backend]:
    """All registered backends by name, fastest first; some may not be usable."""
    found: list[Backend] = [point.load()() for point in entry_points(group=ENTRY_POINT_GROUP)]
    return {backend.name: backend for backend in sorted(found, key=lambda b: (-b.rank, b.name))}


def choose_backend(name: str) -> Choice:
    """The backend of that name, or the fastest usable one for `auto`.

    Raises:
        BackendUnavailableError: the backend is unknown or not usable; the message says what to install.
    """
    backends = installed_backends()
    if name != AUTO:
        if name not in backends:
            raise BackendUnavailableError(f"no backend {name!r}; use {', '.join([AUTO, *backends])}")
        probe = backends[name].probe()
        if not probe.usable:
            raise BackendUnavailableError(f"backend {name} is not usable here: {probe.detail}")
        return Choice(backends[name], f"{name}: requested by name ({probe.detail})")
    skipped: list[str] = []
    unusable: list[str] = []
    for backend in backends.values():
        if not backend.automatic:
            continue
        probe = backend.probe()
        if probe.usable:
            others = f"; skipped {', '.join(skipped)}" if skipped else ""
            return Choice(backend, f"{backend.name}: the fastest that works here ({probe.detail}){others}")
        skipped.append(f"{backend.name} ({probe.brief or probe.detail})")
        unusable.append(f"{backend.name} ({probe.detail})")
    raise BackendUnavailableError(f"no usable backend: {', '.join(unusable) or 'none is registered'}")


def probe_all() -> dict[str, Probe]:
    """Probe every registered backend."""
    return {name: backend.probe() for name, backend in installed_backends().items()}


ENTRY_POINT_GROUP = "nonesuch.backends"


@dataclass(frozen=True)
class Probe:
    """Whether a backend is usable here: `detail` says what was found, or what is missing and how to install it.

    `brief` is the reason in two or three words, for lists of backends; if empty, use `detail`.
    """

    usable: bool
    detail: str
    brief: str = ""


class Backend(Protocol):
    """One runtime."""

    name: str
    rank: int
    """Higher is faster on its hardware; `auto` takes the usable backend with the highest rank."""
    automatic: bool
    """Whether `auto` may choose it; False for a baseline."""

    def probe(self) -> Probe:
        """Look for the runtime and its device. Never raises, never loads a model."""
        ...

    def session(self, artifact: Artifact, options: SessionOptions) -> Session:
        """A closed session for the artifact.

        Raises:
            BackendUnavailableError: the runtime is missing, or does not support the options.
            ArtifactError: the artifact has no variant for this backend.
        """
        ...
