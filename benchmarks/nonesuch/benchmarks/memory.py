"""Memory of each subject and batch size: a fresh process, its resident memory after each step, and its peak.

Limits: resident memory counts pages that the operating system could share or drop. The process holds nothing but one
subject and its batch; a server has queues and encoders beside it. The memory that
torch.compile needs during compilation counts, because every such process needs it.

    python -m nonesuch.benchmarks.memory < (a pickled subject and batch) > (one line of JSON)

is that process; it reads what its own parent wrote to its standard input, and nothing else.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from nonesuch.engine.errors import NonesuchError

from .environment import load_psutil
from .result import BenchmarkError, Outcome, Request
from .subjects.subject import Subject, Workload

QUICK_SIZES, FULL_SIZES = (1, 4), (1, 2, 4, 8)
QUICK_PROCESSES, FULL_PROCESSES = 1, 3
TIMEOUT_S, RUNS = 600.0, 2
_MIB = 2.0**20


@dataclass(frozen=True)
class Footprint:
    """What a process took, MiB."""

    rss_import: float  # resident once Python, numpy and our own modules were there
    rss_open: float  # resident once the runtime and the network were loaded
    peak_rss: float  # the most it ever had, runs included
    device_memory: float | None  # the most that PyTorch held on a CUDA device; None where it held nothing. Untested
    detail: str  # of the subject


def measure(request: Request) -> Outcome:
    """Samples of `rss_import`, `rss_open`, `peak_rss` and, on CUDA, `device_memory`, MiB, one per process."""
    from .subjects.in_turn import line_up  # not on top: the processes that are measured do not need it

    outcome = Outcome("memory")
    sizes = QUICK_SIZES if request.quick else FULL_SIZES
    processes = request.rounds or (QUICK_PROCESSES if request.quick else FULL_PROCESSES)
    workload = Workload(request.model, images=max(sizes))
    for subject in line_up(request, outcome, max_batch_size=max(sizes)):
        for size in sizes:
            request.say(f"measuring {subject.name}, batch {size}")
            try:
                found = [footprint(subject, workload, size) for _ in range(processes)]
            except BenchmarkError as error:
                outcome.skip(subject.name, error.message)
                break  # a larger batch would fail for the same reason
            for metric in ("rss_import", "rss_open", "peak_rss", "device_memory"):
                if samples := [one[metric] for one in map(asdict, found) if one[metric] is not None]:
                    outcome.add(subject.name, metric, samples, {"batch": size}, found[0].detail)
    return outcome


def footprint(subject: Subject, workload: Workload, size: int) -> Footprint:
    """What one fresh process with that subject, which must be closed, takes for batches of that size.

    Raises BenchmarkError where the process failed; the message is its last line.
    """
    command = [sys.executable, "-m", "nonesuch.benchmarks.memory"]
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


def rss_mib() -> float:
    """Resident memory of this process now, MiB. Raises BenchmarkError where psutil is missing."""
    return float(load_psutil().Process().memory_info().rss) / _MIB


def peak_rss_mib() -> float:
    """The most resident memory that this process ever had, MiB."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would give the parent's peak, where that was higher when it started us
        lines = status.read_text().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) / 1024
    if sys.platform == "win32":
        return float(load_psutil().Process().memory_info().peak_wset) / _MIB
    resource: Any = import_module("resource")
    peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak / _MIB if sys.platform == "darwin" else peak / 1024


def _measure_itself() -> None:
    """Run the subject that comes on standard input, and print this process's footprint."""
    subject, batch = pickle.load(sys.stdin.buffer)  # noqa: S301  # our own parent wrote it
    rss_import = rss_mib()
    try:
        subject.open()
        rss_open = rss_mib()
        for _ in range(RUNS):
            subject.run(batch)
        torch: Any = sys.modules.get("torch")
        device_memory = None
        if torch is not None and torch.cuda.is_available():
            device_memory = float(torch.cuda.max_memory_reserved()) / _MIB or None
        found = Footprint(rss_import, rss_open, peak_rss_mib(), device_memory, subject.detail)
        subject.close()
    except NonesuchError as error:
        sys.exit(error.message)
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    _measure_itself()
