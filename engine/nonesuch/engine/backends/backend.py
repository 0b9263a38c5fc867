"""What a backend is: a name, an honest probe of this machine, and a way to make sessions.

A backend registers under the entry point group `nonesuch.backends`, so packages outside the engine can add theirs.
Its module must import cheaply: the runtime itself is imported inside the methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..artifact import Artifact
from ..session import Session, SessionOptions

ENTRY_POINT_GROUP = "nonesuch.backends"


@dataclass(frozen=True)
class Probe:
    """Whether a backend works here: `detail` says what was found, or what is missing and how to get it.

    `brief` is the reason in two or three words, for a list of several; empty for the whole detail.
    """

    usable: bool
    detail: str
    brief: str = ""


class Backend(Protocol):
    """One runtime."""

    name: str
    rank: int
    """Higher is faster on the hardware it needs; `auto` takes the highest that is usable."""
    automatic: bool
    """Whether `auto` may choose it; a baseline for comparison says no."""

    def probe(self) -> Probe:
        """Look for the runtime and its device. Never raises, never loads a model."""
        ...

    def session(self, artifact: Artifact, options: SessionOptions) -> Session:
        """A closed session for the artifact.

        Raises:
            BackendUnavailableError: the runtime is missing, or cannot do what the options ask.
            ArtifactError: the artifact has no variant for this backend.
        """
        ...
