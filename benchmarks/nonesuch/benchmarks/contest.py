"""Opens subjects, holds their pictures against one another, and times those that agree, in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .agreement import compare
from .interleaved import Plan, Sampled, Sampler, interleave
from .measurement import Skipped
from .subject import Subject
from .suite import Outcome, Request
from .workload import Workload

__all__ = ["Contest"]


class Contest:
    """The subjects of one suite; `with` opens and closes them. What fails is left out, with its reason in the outcome.

    Attributes:
        subjects: those that are open and, once `agree` was called, show the same picture as the first.
        device_ms: by subject, the device's own time of each round of the last `sample`; only where there is one.
    """

    def __init__(
        self, suite: str, request: Request, workload: Workload, subjects: Sequence[Subject], outcome: Outcome
    ) -> None:
        self.subjects: list[Subject] = []
        self.device_ms: dict[str, list[float]] = {}
        self._suite, self._request, self._workload, self._outcome = suite, request, workload, outcome
        self._entered = list(subjects)

    def __enter__(self) -> Self:
        for subject in self._entered:
            self._request.say(f"opening {subject.name}")
            try:
                subject.open()
            except Exception as error:  # a runtime that fails in its own way is a subject less, not a lost run
                self._skip(subject.name, error)
            else:
                self.subjects.append(subject)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for subject in self._entered:
            try:
                subject.close()
            except Exception as failure:  # what was measured before stays measured
                self._outcome.flags.append(f"{self._suite}: {subject.name} did not close ({failure})")

    def agree(self, size: int) -> list[Subject]:
        """Render one batch with every subject that takes that size; those that show the first one's picture.

        It is every subject's first run, where runtimes allocate and torch.compile compiles.
        """
        batch = self._workload.batch(0, size)
        expected: NDArray[np.uint8] | None = None
        same: list[Subject] = []
        for subject in self.subjects:
            if not subject.supports(size):
                self._skip(subject.name, f"takes no batch of {size}")
                continue
            self._request.say(f"comparing {subject.name}, batch {size}")
            try:
                images = subject.run(batch)
            except Exception as error:
                self._skip(subject.name, error)
                continue
            if expected is None:
                expected = images
            problem = compare(images, expected).problem(reduced_precision=subject.reduced_precision)
            if problem:
                self._skip(subject.name, f"batch {size}: {problem}")
            else:
                same.append(subject)
        return same

    def sample(
        self,
        subjects: Sequence[Subject],
        size: int,
        plan: Plan,
        extra: Mapping[str, Sampler] | None = None,
    ) -> Sampled:
        """Time runs of one batch size in turn, ms by subject; `extra` samplers take their turns as well."""
        self.device_ms = {}
        samplers = {subject.name: self._sampler(subject, size) for subject in subjects}
        sampled = interleave({**samplers, **(extra or {})}, plan, self._request.say)
        for name, reason in sampled.dropped.items():
            self._skip(name, f"batch {size}: {reason}")
        # Warm-up rounds come first; only the last ones were counted.
        counted = {name: len(samples) for name, samples in sampled.samples.items()}
        self.device_ms = {name: ms[-counted[name] :] for name, ms in self.device_ms.items() if name in counted}
        return sampled

    def _sampler(self, subject: Subject, size: int) -> Callable[[int], float]:
        def sample(number: int) -> float:
            taken_ms = subject.time_ms(self._workload.batch(number, size))
            if subject.device_ms is not None:
                self.device_ms.setdefault(subject.name, []).append(subject.device_ms)
            return taken_ms

        return sample

    def _skip(self, name: str, reason: object) -> None:
        text = " ".join(str(reason).split()) or type(reason).__name__
        self._outcome.skipped.append(Skipped(suite=self._suite, subject=name, reason=text))
        self._request.say(f"left out {name}: {text}")
