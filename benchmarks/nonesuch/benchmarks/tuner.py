"""Finds the fastest way to run a model on this machine, in three steps instead of every combination.

    graph forms, one image, each backend  ->  threads of the best form  ->  lanes: a batch side by side, or in turn

Each step measures its candidates in turn and keeps the one with the lowest median. Later steps change nothing that an
earlier one depends on much: which form suits a runtime does not hang on threads, and lanes only matter for batches.
`sweep` has every combination, to hold the shortcut against.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.registry import installed_backends
from nonesuch.engine.errors import NonesuchError
from nonesuch.engine.machine import cpu_name, usable_cores
from nonesuch.engine.session import Session, SessionOptions
from nonesuch.engine.tuning import TunedSettings, Tuning

from .interleaved import Plan, Sampled, interleave
from .measurement import BenchmarkError
from .suite import Request
from .summary import median
from .workload import Workload

__all__ = ["Candidate", "Tuner"]

LANE_GAIN = 0.05
"""Lanes cost a second copy of the network; they must save this share of the time per image."""


@dataclass(frozen=True)
class Candidate:
    """One way to run the model."""

    backend: str
    options: SessionOptions

    @property
    def name(self) -> str:
        """Everything that sets it apart, in one line."""
        options = self.options
        lanes = options.lanes or 1
        return (
            f"{self.backend}, {options.upsampling}, {options.threads} threads, "
            f"{lanes} {'lane' if lanes == 1 else 'lanes'}"
        )

    @classmethod
    def of(cls, settings: TunedSettings) -> Candidate:
        """What a tuning chose."""
        return cls(settings.backend, settings.apply(SessionOptions(device="auto")))


class Tuner:
    """Measures one model; the sessions that it opens are closed again after each step."""

    def __init__(self, request: Request) -> None:
        """Raises `NonesuchError` where there is no such model."""
        self._workload = Workload(request.model)
        self._request = request
        rounds = request.rounds or (9 if request.quick else 21)
        self._plan = Plan(rounds=rounds, least_rounds=min(5, rounds), budget_s=4 if request.quick else 20)

    @property
    def artifact(self) -> Artifact:
        """The model's."""
        return self._workload.artifact

    def tune(self) -> Tuning:
        """The measured settings of every backend that works here, the fastest first.

        Raises:
            BenchmarkError: no backend can run the model.
        """
        groups = [list(forms) for _, forms in itertools.groupby(self.forms(), lambda one: one.backend)]
        finalists = [found for group in groups if (found := self._best_of_backend(group)) is not None]
        if not finalists:
            raise BenchmarkError(f"no backend can run {self._request.model!r} here; see nonesuch doctor")
        self._request.say(f"finalists: {'; '.join(one.name for one, _ in finalists)}")
        # Measured in turn, so that the backends are compared under the same conditions.
        sampled = self.measure([one for one, _ in finalists], 1)
        settings = [
            self._settings(one, median(sampled.samples[one.name]), batch_image_ms)
            for one, batch_image_ms in finalists
            if one.name in sampled.samples
        ]
        return Tuning(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            cpu=cpu_name(),
            settings=tuple(sorted(settings, key=lambda one: one.image_ms)),
        )

    def forms(self) -> Iterator[Candidate]:
        """One candidate for each backend that `auto` may take and each form of graph that it runs, by backend."""
        forms = {v.upsampling: v for v in self.artifact.manifest.variants if v.precision == "fp32"}
        for name, backend in installed_backends().items():
            if not backend.automatic or not backend.probe().usable or not self._request.wants(name):
                continue
            for form in forms:
                options = SessionOptions(
                    device="auto", precision="fp32", upsampling=form, threads=usable_cores(), max_batch_size=8
                )
                try:
                    backend.session(self.artifact, options)
                except NonesuchError as error:
                    self._request.say(f"left out {name} with {form}: {error.message}")
                else:
                    yield Candidate(name, options)

    def sweep(self) -> list[Candidate]:
        """Every combination of backend, form, threads and lanes."""
        return [
            Candidate(form.backend, replace(form.options, threads=threads, lanes=lanes))
            for form in self.forms()
            for threads in _thread_counts()
            for lanes in _lane_counts(threads)
        ]

    def measure(
        self,
        candidates: Sequence[Candidate],
        size: int,
        plan: Plan | None = None,
        extra: Mapping[str, Candidate] | None = None,
    ) -> Sampled:
        """Time batches of a size, in turn: milliseconds per image by the names of the candidates, and of `extra`."""
        sessions: dict[str, Session] = {}
        try:
            for name, candidate in ({one.name: one for one in candidates} | dict(extra or {})).items():
                backend = installed_backends()[candidate.backend]
                sessions[name] = session = backend.session(self.artifact, candidate.options)
                session.open()
            return interleave(
                {
                    name: lambda number, session=session: (  # type: ignore[misc]
                        session.submit(self._workload.batch(number, size)).result().inference_ms / size
                    )
                    for name, session in sessions.items()
                },
                plan or self._plan,
            )
        finally:
            for session in sessions.values():
                session.close()

    def _best_of_backend(self, forms: Sequence[Candidate]) -> tuple[Candidate, float] | None:
        """The best candidate of one backend and its time per image in a batch, ms; None where the backend fails."""
        self._request.say(f"{forms[0].backend}: {len(forms)} graph forms")
        best = self._best(forms, 1)
        if best is None:
            return None
        threads = [replace(best, options=replace(best.options, threads=count)) for count in _thread_counts()]
        self._request.say(f"{best.backend}: threads {', '.join(map(str, _thread_counts()))}")
        best = self._best(threads, 1) or best
        counts = _lane_counts(best.options.threads or 1)
        batch = max(counts)
        lanes = [replace(best, options=replace(best.options, lanes=count)) for count in counts]
        self._request.say(f"{best.backend}: lanes {', '.join(map(str, counts))}, batches of {batch}")
        times = {name: median(samples) for name, samples in self.measure(lanes, batch).samples.items()}
        fastest = min(lanes, key=lambda lane: times.get(lane.name, float("inf")))
        # No lanes unless they earn their memory.
        plain = lanes[0]
        if times.get(fastest.name, 0.0) > (1 - LANE_GAIN) * times.get(plain.name, float("inf")):
            fastest = plain
        return fastest, times[fastest.name]

    def _settings(self, chosen: Candidate, image_ms: float, batch_image_ms: float) -> TunedSettings:
        session = installed_backends()[chosen.backend].session(self.artifact, chosen.options)
        return TunedSettings(
            backend=chosen.backend,
            identity=session.identity,
            variant_sha256=session.variant.sha256,
            upsampling=session.variant.upsampling,
            precision=session.variant.precision,
            threads=chosen.options.threads,
            lanes=chosen.options.lanes or 1,
            image_ms=image_ms,
            batch_image_ms=batch_image_ms,
        )

    def _best(self, candidates: Sequence[Candidate], size: int) -> Candidate | None:
        sampled = self.measure(candidates, size)
        for name, reason in sampled.dropped.items():
            self._request.say(f"left out {name}: {reason}")
        times = {name: median(samples) for name, samples in sampled.samples.items()}
        measured = [candidate for candidate in candidates if candidate.name in times]
        return min(measured, key=lambda candidate: times[candidate.name]) if measured else None


def _thread_counts() -> list[int]:
    """All cores, and half of them: where two threads share a core, half may be faster."""
    cores = usable_cores()
    return sorted({cores, max(1, cores // 2)}, reverse=True)


def _lane_counts(threads: int) -> list[int]:
    """1, 2, 4 and 8, as far as every lane gets a thread; more images in flight make each of them wait too long."""
    return [count for count in (1, 2, 4, 8) if count <= threads]
