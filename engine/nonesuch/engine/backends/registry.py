"""Finds the backends that are installed and chooses one. Nothing falls back silently."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points

from ..errors import BackendUnavailableError
from .backend import ENTRY_POINT_GROUP, Backend, Probe

AUTO = "auto"


@dataclass(frozen=True)
class Choice:
    """A backend and, in one line, why it was chosen."""

    backend: Backend
    reason: str


def installed_backends() -> dict[str, Backend]:
    """Every registered backend by name, fastest first; registered does not mean usable."""
    found: list[Backend] = [point.load()() for point in entry_points(group=ENTRY_POINT_GROUP)]
    return {backend.name: backend for backend in sorted(found, key=lambda b: (-b.rank, b.name))}


def choose_backend(name: str) -> Choice:
    """The backend of that name, or the fastest usable one for `auto`.

    Raises:
        BackendUnavailableError: unknown, not usable here, or none is usable; the message says what to install.
    """
    backends = installed_backends()
    if name != AUTO:
        if name not in backends:
            raise BackendUnavailableError(f"no backend {name!r}; there are {', '.join([AUTO, *backends])}")
        probe = backends[name].probe()
        if not probe.usable:
            raise BackendUnavailableError(f"backend {name} cannot be used here: {probe.detail}")
        return Choice(backends[name], f"{name}: asked for by name ({probe.detail})")
    passed_over: list[str] = []
    missing: list[str] = []
    for backend in backends.values():
        if not backend.automatic:
            continue
        probe = backend.probe()
        if probe.usable:
            others = f"; passed over {', '.join(passed_over)}" if passed_over else ""
            return Choice(backend, f"{backend.name}: the fastest that works here ({probe.detail}){others}")
        passed_over.append(f"{backend.name} ({probe.brief or probe.detail})")
        missing.append(f"{backend.name} ({probe.detail})")
    raise BackendUnavailableError(f"no backend can be used here: {', '.join(missing) or 'none is registered'}")


def probe_all() -> dict[str, Probe]:
    """What every registered backend says of this machine."""
    return {name: backend.probe() for name, backend in installed_backends().items()}
