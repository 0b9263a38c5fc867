"""Memory of each subject and batch size: a fresh process, its resident memory after each step, and its peak.

Limits: resident memory counts pages that the operating system could share or drop. The process holds nothing but one
subject and its batch; a server has queues and encoders beside it. What torch.compile needs while it compiles counts, as
it does for whoever starts such a process.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

from .measurement import BenchmarkError, Measurement, Skipped
from .memory_probe import Footprint
from .subject import Subject
from .subjects.lineup import line_up
from .suite import Outcome, Request
from .workload import Workload

__all__ = ["SUITE", "footprint", "measure"]

SUITE = "memory"
QUICK_SIZES = (1, 4)
FULL_SIZES = (1, 2, 4, 8)
QUICK_PROCESSES = 1
FULL_PROCESSES = 3
TIMEOUT_S = 600.0


def measure(request: Request) -> Outcome:
    """Samples of `rss_import`, `rss_open`, `peak_rss` and, where there is one, `device_memory`, MiB, one per process.

    Raises:
        NonesuchError: there is no such model.
    """
    outcome = Outcome()
    sizes = QUICK_SIZES if request.quick else FULL_SIZES
    processes = request.rounds or (QUICK_PROCESSES if request.quick else FULL_PROCESSES)
    workload = Workload(request.model, images=max(sizes))
    for subject in line_up(SUITE, request, outcome, max_batch_size=max(sizes)):
        for size in sizes:
            request.say(f"measuring {subject.name}, batch {size}")
            try:
                found = [footprint(subject, workload, size) for _ in range(processes)]
            except BenchmarkError as error:
                outcome.skipped.append(Skipped(suite=SUITE, subject=subject.name, reason=error.message))
                break  # a larger batch would fail for the same reason
            outcome.measurements += _measurements(subject.name, size, found)
    return outcome


def footprint(subject: Subject, workload: Workload, size: int) -> Footprint:
    """What one fresh process with that subject, which must be closed, takes for batches of that size.

    Raises:
        BenchmarkError: the process failed; the message is its last line.
    """
    command = [sys.executable, "-m", "nonesuch.benchmarks.memory_probe"]
    question = pickle.dumps((subject, workload.batch(0, size)))
    try:
        done = subprocess.run(command, input=question, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"batch {size} took longer than {TIMEOUT_S:.0f} s") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"its process ended with code {done.returncode}"
        raise BenchmarkError(f"batch {size}: {reason}")
    return Footprint(**json.loads(done.stdout.decode().strip().splitlines()[-1]))


def _measurements(name: str, size: int, found: list[Footprint]) -> list[Measurement]:
    columns: dict[str, list[float | None]] = {
        "rss_import": [one.import_mib for one in found],
        "rss_open": [one.open_mib for one in found],
        "peak_rss": [one.peak_mib for one in found],
        "device_memory": [one.device_mib for one in found],
    }
    return [
        Measurement(
            suite=SUITE,
            subject=name,
            detail=found[0].detail,
            metric=metric,
            unit="MiB",
            better="lower",
            case={"batch": size},
            samples=known,
        )
        for metric, values in columns.items()
        if (known := [value for value in values if value is not None])
    ]
