"""Runs suites one after another into one result, which is on disk after each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from nonesuch.engine.artifact import find_artifact

from .environment import Snapshot, busy_flags, record, snapshot
from .measurement import BenchmarkError, Result, Skipped
from .reports.origin import NOTE
from .suite import Outcome, Request

__all__ = ["ALL", "EVERYTHING", "SUITES", "Suite", "run_suites"]

EVERYTHING = "everything"
"""The subject of a suite that failed as a whole."""


@dataclass(frozen=True)
class Suite:
    """One suite.

    Attributes:
        module: under nonesuch.benchmarks, with `measure(request) -> Outcome`; imported when it is run.
        summary: what it measures, in one line.
    """

    module: str
    summary: str

    @property
    def function(self) -> Callable[[Request], Outcome]:
        """Its `measure`. Raises ImportError."""
        measure: Callable[[Request], Outcome] = import_module(f"nonesuch.benchmarks.{self.module}").measure
        return measure


SUITES = {
    "latency": Suite("latency", "The time of one image, by everything that can render it here."),
    "throughput": Suite("throughput", "Images per second against batch size."),
    "precision": Suite("precision", "How close every backend and precision comes to PyTorch."),
    "memory": Suite("memory", "Memory of a fresh process, by batch size."),
    "encoding": Suite("encoding", "Time and size of JPEG, PNG and WebP, alone and beside inference."),
    "tuning": Suite("tuning", "What nonesuch tune chose against a full sweep."),
    "serve": Suite("serve.suite", "A server under load: closed loops, and open loops timed from the schedule."),
    "overload": Suite("serve.overload", "More load than a server can take; bulk work or visitors beside callers."),
    "overhead": Suite("overhead", "What serving costs on top of the engine: at saturation, and for one caller."),
    "peers": Suite("peers.suite", "The same artifact behind other servers, each in an environment of its own."),
    "loadgen": Suite("loadgen", "Our load generator against MLPerf LoadGen, unofficial."),
}
ALL = ("latency", "throughput", "precision", "memory", "encoding", "tuning", "serve")
"""What `all` runs, in this order. The others install software or take long, and are commands of their own."""


def run_suites(names: Sequence[str], request: Request, *, out: Path, command: str) -> Result:
    """Run suites, and write `result.json` into the folder after each.

    A suite that fails is in `skipped`, with its reason, and the others go on. A result that was written before the
    end says so in its flags.

    Args:
        names: of `SUITES`, in the order in which they run.
        request: what each suite gets.
        out: the folder; an older result there is replaced.
        command: the command line, for the record.

    Raises:
        BenchmarkError: nothing could be measured; the message has the first reason.
        NonesuchError: there is no such model, or it is damaged.
    """
    manifest = find_artifact(request.model).manifest
    outcome = Outcome()
    created = datetime.now(UTC).isoformat(timespec="seconds")
    environment = record()

    def result(flags: Sequence[str]) -> Result:
        return Result(
            created=created,
            command=command,
            model=manifest.name,
            model_id=manifest.model_id,
            resolution=manifest.resolution,
            quick=request.quick,
            environment=environment,
            measurements=outcome.measurements,
            skipped=outcome.skipped,
            flags=[*flags, *dict.fromkeys(outcome.flags)],
        )

    for number, name in enumerate(names):
        request.say(f"{name} ({number + 1} of {len(names)})")
        with _watched(name, first=number == 0, flags=outcome.flags):
            outcome.extend(_measured(name, request))
        rest = names[number + 1 :]
        done = result([f"the run ended early, without {', '.join(rest)}"] if rest else [])
        done.save(out)
    if not outcome.measurements:
        reason = outcome.skipped[0].reason if outcome.skipped else "no subject was asked for; look at --subjects"
        raise BenchmarkError(f"nothing could be measured: {reason}")
    return done


def _measured(name: str, request: Request) -> Outcome:
    try:
        return SUITES[name].function(request)
    except Exception as error:  # a suite that breaks must not take the others' measurements with it
        reason = " ".join(str(error).split()) or type(error).__name__
        request.say(f"{name} failed: {reason}")
        return Outcome(skipped=[Skipped(suite=name, subject=EVERYTHING, reason=reason)])


@contextmanager
def _watched(name: str, *, first: bool, flags: list[str]) -> Iterator[None]:
    """Flags what else the machine did meanwhile, under the suite's name."""
    before = _snapshot()
    if before is not None and not first:
        before = replace(before, load=-1.0)  # the load average is our own by now
    yield
    after = _snapshot()
    if before is None or after is None:
        flags.append(
            "psutil is not installed, so nobody saw whether the machine was busy: pip install 'nonesuch[bench]'"
        )
        return
    flags += [flag if flag.startswith(NOTE) else f"{name}: {flag}" for flag in busy_flags(before, after)]


def _snapshot() -> Snapshot | None:
    try:
        return snapshot()
    except ImportError:
        return None
