"""Finds the fastest way to run a model on this machine, in three steps instead of every combination.

    graph forms, one image, each backend  ->  threads of the best form  ->  lanes: a batch side by side, or in turn

Each step measures its candidates in turn and keeps the one with the lowest median. Later steps change nothing that an
earlier one depends on much: which form suits a runtime does not hang on threads, and lanes only matter for batches.

The suite holds that choice against every combination, in turn in one run. Limits: the choice is made first and then
measured again beside the sweep, so its samples are not those that chose it. The best of a sweep is the luckiest of
many; the interval of the ratio says how much of it is luck.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from nonesuch.engine.backends.registry import installed_backends
from nonesuch.engine.errors import NonesuchError
from nonesuch.engine.machine import cpu_name, usable_cores
from nonesuch.engine.session import SessionOptions
from nonesuch.engine.tuning import TunedSettings, Tuning

from .interleaved import Plan, Sampled, Sampler, interleave
from .result import BenchmarkError, Outcome, Request
from .subjects.subject import Workload
from .summary import median

TUNED = "tune's choice"
BATCH = 4
QUICK, FULL = Plan(rounds=5), Plan(rounds=21)
LANE_GAIN = 0.05  # lanes cost a second copy of the network; they must save this share of the time per image


@dataclass(frozen=True)
class Candidate:
    """One way to run the model."""

    backend: str
    options: SessionOptions

    @property
    def name(self) -> str:
        """Everything that sets it apart, in one line."""
        lanes = self.options.lanes or 1
        threads = f"{self.options.threads} threads, {lanes} {'lane' if lanes == 1 else 'lanes'}"
        return f"{self.backend}, {self.options.upsampling}, {threads}"

    def with_options(self, **changes: Any) -> Candidate:
        """The same with other threads or lanes."""
        return replace(self, options=replace(self.options, **changes))


def measure(request: Request) -> Outcome:
    """Samples of `image_time`, ms per image alone and in a batch, of every combination and of `tune`'s choice."""
    outcome = Outcome("tuning")
    tuner = Tuner(request)
    settings = tuner.tune().fastest()
    chosen = Candidate(settings.backend, settings.apply(SessionOptions(device="auto")))
    candidates = {one.name: one for one in tuner.sweep()}
    for size in (1, BATCH):
        request.say(f"{len(candidates)} combinations, batch {size}")
        sampled = tuner.measure(candidates | {TUNED: chosen}, size, Plan.of(request, QUICK, FULL))
        outcome.skip_all(sampled.dropped, f"batch {size}: ")
        for name, samples in sampled.samples.items():
            outcome.add(name, "image_time", samples, {"batch": size}, chosen.name if name == TUNED else "")
    return outcome


class Tuner:
    """Measures one model, `artifact`; the sessions that it opens are closed again after each step."""

    def __init__(self, request: Request) -> None:
        """Raises `NonesuchError` if the model does not exist."""
        self._workload = Workload(request.model)
        self._request = request
        self.artifact = self._workload.artifact
        rounds = request.rounds or (9 if request.quick else 21)
        self._plan = Plan(rounds=rounds, min_rounds=min(5, rounds), budget_s=4 if request.quick else 20)

    def tune(self) -> Tuning:
        """The measured settings of every backend that works here, the fastest first.

        Raises BenchmarkError where no backend can run the model.
        """
        groups = [list(forms) for _, forms in itertools.groupby(self.forms(), lambda one: one.backend)]
        finalists = dict(found for group in groups if (found := self._best_of_backend(group)) is not None)
        if not finalists:
            raise BenchmarkError(f"no backend can run {self._request.model!r} here; see nonesuch doctor")
        self._request.say(f"finalists: {'; '.join(one.name for one in finalists)}")
        settings = []
        # Measured in turn, so that the backends are compared under the same conditions.
        for one, image_ms in self._image_ms(list(finalists), 1).items():
            session = installed_backends()[one.backend].session(self.artifact, one.options)
            variant = session.variant
            settings.append(
                TunedSettings(
                    backend=one.backend, identity=session.identity, variant_sha256=variant.sha256,
                    upsampling=variant.upsampling, precision=variant.precision, threads=one.options.threads,
                    lanes=one.options.lanes or 1, image_ms=image_ms, batch_image_ms=finalists[one],
                )
            )  # fmt: skip
        created = datetime.now(UTC).isoformat(timespec="seconds")
        return Tuning(created=created, cpu=cpu_name(), settings=tuple(settings))

    def forms(self) -> Iterator[Candidate]:
        """One candidate for each backend that `auto` may take and each form of graph that it runs, by backend."""
        forms = dict.fromkeys(v.upsampling for v in self.artifact.manifest.variants if v.precision == "fp32")
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
            form.with_options(threads=threads, lanes=lanes)
            for form in self.forms()
            for threads in _thread_counts()
            for lanes in _lane_counts(threads)
        ]

    def measure(self, candidates: Mapping[str, Candidate], size: int, plan: Plan | None = None) -> Sampled:
        """Time batches of a size, in turn: milliseconds per image, by the names of the candidates."""
        with ExitStack() as stack:

            def sampler(candidate: Candidate) -> Sampler:
                session = installed_backends()[candidate.backend].session(self.artifact, candidate.options)
                stack.callback(session.close)
                session.open()
                batch = self._workload.batch
                return lambda number: session.submit(batch(number, size)).result().inference_ms / size

            samplers = {name: sampler(candidate) for name, candidate in candidates.items()}
            return interleave(samplers, plan or self._plan)

    def _best_of_backend(self, forms: Sequence[Candidate]) -> tuple[Candidate, float] | None:
        """The best candidate of one backend and its time per image in a batch, ms; None where the backend fails."""
        self._request.say(f"{forms[0].backend}: {len(forms)} graph forms")
        best = next(iter(self._image_ms(forms, 1)), None)
        if best is None:
            return None
        self._request.say(f"{best.backend}: threads {', '.join(map(str, _thread_counts()))}")
        best = next(iter(self._image_ms([best.with_options(threads=count) for count in _thread_counts()], 1)), best)
        counts = _lane_counts(best.options.threads or 1)
        self._request.say(f"{best.backend}: lanes {', '.join(map(str, counts))}, batches of {max(counts)}")
        lanes = [best.with_options(lanes=count) for count in counts]
        times = self._image_ms(lanes, max(counts))
        fastest = next(iter(times), None)
        # No lanes unless they earn their memory.
        if fastest and times[fastest] > (1 - LANE_GAIN) * times.get(lanes[0], math.inf):
            fastest = lanes[0]
        return (fastest, times[fastest]) if fastest else None

    def _image_ms(self, candidates: Sequence[Candidate], size: int) -> dict[Candidate, float]:
        """Median milliseconds per image of those that work, the fastest first."""
        sampled = self.measure({one.name: one for one in candidates}, size)
        for name, reason in sampled.dropped.items():
            self._request.say(f"left out {name}: {reason}")
        times = {one: median(sampled.samples[one.name]) for one in candidates if one.name in sampled.samples}
        return dict(sorted(times.items(), key=lambda item: item[1]))


def _thread_counts() -> list[int]:
    """All cores, and half of them: where two threads share a core, half may be faster."""
    cores = usable_cores()
    return sorted({cores, max(1, cores // 2)}, reverse=True)


def _lane_counts(threads: int) -> list[int]:
    """1, 2, 4 and 8, as far as every lane gets a thread; more images in flight make each of them wait too long."""
    return [count for count in (1, 2, 4, 8) if count <= threads]
