"""Reports the progress of a build and can cancel it, through the library's IProgressMonitor."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

Report = Callable[[float], None]


class BuildProgress:
    """The completed share of a build, which another thread can cancel.

    Phases are nested: a step of an outer phase is done when its inner phases are done. An inner phase counts as a part
    of its outer step. The share never decreases.
    """

    def __init__(self, report: Report = lambda _: None) -> None:
        self._report = report
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._phases: dict[str, _Phase] = {}
        self._done = 0.0

    def cancel(self) -> None:
        """Cancel the build at its next step."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """Record that a phase began."""
        with self._lock:
            outer = self._phases.get(parent) if parent else None
            self._phases[phase] = _Phase(outer, max(steps, 1))

    def step(self, phase: str, index: int) -> None:
        """Record that step `index` of a phase is done."""
        with self._lock:
            found = self._phases.get(phase)
            if found is None:
                return
            found.done = min(index + 1, found.steps)
            self._done = max(self._done, found.share())
            self._report(self._done)  # inside the lock, so that reports never decrease

    def complete(self) -> None:
        """Report that the build is done; the library skips the last steps of some phases."""
        self._report(1.0)

    def finish(self, phase: str) -> None:
        """Record that a phase ended."""
        with self._lock:
            self._phases.pop(phase, None)


class _Phase:
    def __init__(self, outer: _Phase | None, steps: int) -> None:
        self.outer, self.steps, self.done = outer, steps, 0

    def share(self, partial: float = 0.0) -> float:
        """The completed share of the whole build; `partial` is the completed part of the current step."""
        own = min((self.done + partial) / self.steps, 1.0)
        return own if self.outer is None else self.outer.share(own)


def make_monitor(trt: Any, progress: BuildProgress) -> Any:
    """An `IProgressMonitor` of the library's module."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the module is Any
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.start(phase_name, parent_phase, num_steps)

        def phase_finish(self, phase_name: str) -> None:
            progress.finish(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress.step(phase_name, step)
            return not progress.cancelled

    return Monitor()
