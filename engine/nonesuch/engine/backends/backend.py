"""The interface of a backend: a name, a probe of this machine, and a factory of sessions.

A backend registers under the entry point group `nonesuch.backends`, so other packages can add backends. Its module must
import cheaply: its methods import the runtime.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..artifact import Artifact
from ..session import Session, SessionOptions

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
