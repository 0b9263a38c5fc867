"""Who takes part in a suite that renders: opened, held against one another, and those that agree timed in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.backends.registry import installed_backends
from nonesuch.engine.session import SessionOptions

from ..agreement import Agreement
from ..interleaved import Plan, Sampled, Sampler, interleave
from ..result import Outcome, Request
from .subject import EngineSubject, Subject, Workload
from .torch import BACKEND, torch_subjects
from .wheel import WheelSubject


def line_up(request: Request, outcome: Outcome, max_batch_size: int = 8) -> list[Subject]:
    """The subjects that were asked for, closed, PyTorch's reference first; what cannot run is skipped with a reason."""
    found: list[Subject] = []
    try:
        torch: Any = import_module("torch")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        found += torch_subjects(request.model, device=device, max_batch_size=max_batch_size)
    except ImportError:
        outcome.skip("torch eager", "torch is not installed")
    found.append(WheelSubject(request.model))
    for name, backend in installed_backends().items():
        if name == BACKEND:
            continue
        probe = backend.probe()
        if probe.usable:
            options = SessionOptions(device="auto", max_batch_size=max_batch_size)
            found.append(EngineSubject(request.model, name, options=options))
        elif request.wants(name):
            outcome.skip(name, probe.detail)
    return [subject for subject in found if request.wants(subject.name)]


class OpenSubjects:
    """The subjects of one suite; `with` opens and closes them. What fails is left out, with its reason in the outcome.

    `subjects` are those that are open; `device_ms` is by subject the device's own time of each round of the last
    `sample`, only where there is one.
    """

    def __init__(self, request: Request, workload: Workload, subjects: Sequence[Subject], outcome: Outcome) -> None:
        self.subjects: list[Subject] = []
        self.device_ms: dict[str, list[float]] = {}
        self._request, self._workload, self._outcome = request, workload, outcome
        self._entered = list(subjects)

    def __enter__(self) -> Self:
        for subject in self._entered:
            self._request.say(f"opening {subject.name}")
            try:
                subject.open()
            except Exception as error:  # a runtime that fails in its own way is a subject less, not a lost run
                self._skip(subject, error)
            else:
                self.subjects.append(subject)
        return self

    def __exit__(self, *_: object) -> None:
        for subject in self._entered:
            try:
                subject.close()
            except Exception as failure:  # what was measured before stays measured
                self._outcome.flags.append(f"{self._outcome.suite}: {subject.name} did not close ({failure})")

    def agree(self, size: int) -> list[Subject]:
        """Render one batch with every subject that takes that size; those that show the first one's picture.

        It is every subject's first run, where runtimes allocate and torch.compile compiles.
        """
        batch = self._workload.batch(0, size)
        expected: NDArray[np.uint8] | None = None
        same: list[Subject] = []
        for subject in self.subjects:
            if not subject.supports(size):
                self._skip(subject, f"takes no batch of {size}")
                continue
            self._request.say(f"comparing {subject.name}, batch {size}")
            try:
                images = subject.run(batch)
            except Exception as error:
                self._skip(subject, error)
                continue
            expected = images if expected is None else expected
            problem = Agreement.of(images, expected).problem(reduced_precision=subject.reduced_precision)
            if problem:
                self._skip(subject, f"batch {size}: {problem}")
            else:
                same.append(subject)
        return same

    def sample(
        self, subjects: Sequence[Subject], size: int, plan: Plan, extra: Mapping[str, Sampler] | None = None
    ) -> Sampled:
        """Time runs of one batch size in turn, ms by subject; `extra` samplers take their turns as well."""
        self.device_ms = {}
        samplers = {subject.name: self._sampler(subject, size) for subject in subjects}
        sampled = interleave({**samplers, **(extra or {})}, plan, self._request.say)
        self._outcome.skip_all(sampled.dropped, f"batch {size}: ")
        # Warm-up rounds come first; only the last ones were counted.
        counted = {name: len(samples) for name, samples in sampled.samples.items()}
        self.device_ms = {name: ms[-counted[name] :] for name, ms in self.device_ms.items() if name in counted}
        return sampled

    def _sampler(self, subject: Subject, size: int) -> Sampler:
        def sample(number: int) -> float:
            time_ms = subject.time_ms(self._workload.batch(number, size))
            if subject.device_ms is not None:
                self.device_ms.setdefault(subject.name, []).append(subject.device_ms)
            return time_ms

        return sample

    def _skip(self, subject: Subject, reason: object) -> None:
        self._outcome.skip(subject.name, reason)
        self._request.say(f"left out {subject.name}: {self._outcome.skipped[-1].reason}")
