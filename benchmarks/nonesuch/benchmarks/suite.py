"""What every benchmark of the suite takes and gives: a request in, an outcome out.

A suite is a module with `measure(request: Request) -> Outcome`. It compares outputs before it times anything, leaves
out what does not work here with a reason, and never asserts a speed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .measurement import Measurement, Skipped

__all__ = ["Outcome", "Request", "silent"]


def silent(_: str) -> None:
    """Reports progress to nobody."""


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes:
        model: name or folder of an exported artifact, as `Generator.open` takes it.
        quick: the short settings: fewer rounds, fewer cases, the same subjects.
        subjects: measure only the subjects whose name contains one of these; empty for all.
        rounds: overrides the suite's number of rounds.
        say: is told in one line what is being done.
    """

    model: str
    quick: bool = False
    subjects: tuple[str, ...] = ()
    rounds: int | None = None
    say: Callable[[str], None] = silent

    def wants(self, subject: str) -> bool:
        """Whether this subject was asked for."""
        return not self.subjects or any(part in subject for part in self.subjects)


@dataclass
class Outcome:
    """What a suite found; suites add to it as they go."""

    measurements: list[Measurement] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)

    def extend(self, other: Outcome) -> None:
        """Add what another suite found."""
        self.measurements += other.measurements
        self.skipped += other.skipped
        self.flags += other.flags
