"""Runs suites one after another into one result, which is on disk after each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import msgspec

from nonesuch.engine.artifact import find_artifact

from .environment import busy_flags, record, snapshot
from .result import NOTE, BenchmarkError, Outcome, Request, Result

EVERYTHING = "everything"  # the subject of a suite that failed as a whole


@dataclass(frozen=True)
class Suite:
    """One suite."""

    module: str  # under nonesuch.benchmarks; imported when it is run
    summary: str  # what it measures, in one line
    name: str = "measure"  # of its function in the module, `measure(request) -> Outcome`

    @property
    def function(self) -> Callable[[Request], Outcome]:
        """Its function. Raises ImportError."""
        measure: Callable[[Request], Outcome] = getattr(import_module(f"nonesuch.benchmarks.{self.module}"), self.name)
        return measure


SUITES = {
    "latency": Suite("speed", "The time of one image, by everything that can render it here.", "measure_latency"),
    "throughput": Suite("speed", "Images per second against batch size.", "measure_throughput"),
    "precision": Suite("precision", "How close every backend and precision comes to PyTorch."),
    "memory": Suite("memory", "Memory of a fresh process, by batch size."),
    "encoding": Suite("encoding", "Time and size of JPEG, PNG and WebP, alone and beside inference."),
    "tuning": Suite("tuning", "What nonesuch tune chose against a full sweep."),
    "serve": Suite("serve.suite", "A server under load: closed loops, and open loops timed from the schedule."),
    "overload": Suite("serve.overload", "More load than a server can take; bulk work or visitors beside callers."),
    "overhead": Suite("serve.overhead", "What serving costs on top of the engine: at saturation, and for one caller."),
    "peers": Suite("peers.suite", "The same artifact behind other servers, each in an environment of its own."),
}
ALL = ("latency", "throughput", "precision", "memory", "encoding", "tuning", "serve")
"""What `all` runs, in this order. The others install software or take long, and are commands of their own."""


def run_suites(names: Sequence[str], request: Request, *, out: Path, command: str) -> Result:
    """Run suites, by their names in `SUITES`, and write `result.json` into the folder `out` after each.

    A suite that fails is in `skipped`, with its reason, and the others go on. A result that was written before the
    end says so in its flags. `command` is the command line, for the record.

    Raises BenchmarkError if nothing could be measured, with the first reason; NonesuchError if the model is
    missing or damaged.
    """
    manifest = find_artifact(request.model).manifest
    outcome = Outcome("all")
    result = Result(
        created=datetime.now(UTC).isoformat(timespec="seconds"), command=command, model=manifest.name,
        model_id=manifest.model_id, resolution=manifest.resolution, quick=request.quick, environment=record(),
        measurements=outcome.measurements, skipped=outcome.skipped,
    )  # fmt: skip
    for number, name in enumerate(names):
        request.say(f"{name} ({number + 1} of {len(names)})")
        with _watched(name, first=number == 0, flags=outcome.flags):
            try:
                found = SUITES[name].function(request)
            except Exception as error:  # a suite that breaks must not take the others' measurements with it
                found = Outcome(name)
                found.skip(EVERYTHING, error)
                request.say(f"{name} failed: {found.skipped[0].reason}")
            outcome.measurements += found.measurements
            outcome.skipped += found.skipped
            outcome.flags += found.flags
        rest = names[number + 1 :]
        early = [f"the run ended early, without {', '.join(rest)}"] if rest else []
        result = msgspec.structs.replace(result, flags=early + list(dict.fromkeys(outcome.flags)))
        result.save(out)
    if not outcome.measurements:
        reason = outcome.skipped[0].reason if outcome.skipped else "no subject was asked for; look at --subjects"
        raise BenchmarkError(f"nothing could be measured: {reason}")
    return result


@contextmanager
def _watched(name: str, *, first: bool, flags: list[str]) -> Iterator[None]:
    """Flags what else the machine did meanwhile, under the suite's name."""
    try:
        before = snapshot()
    except BenchmarkError:  # there is no psutil
        before = None
    yield
    if before is None:
        lines = ["psutil is not installed, so nobody saw whether the machine was busy: pip install 'nonesuch[bench]'"]
    else:
        # After the first suite the load average is our own.
        lines = busy_flags(before if first else replace(before, load=-1.0), snapshot())
    flags += [line if before is None or line.startswith(NOTE) else f"{name}: {line}" for line in lines]
