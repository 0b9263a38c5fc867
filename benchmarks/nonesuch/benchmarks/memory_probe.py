"""The process that `memory` measures: takes one subject and one batch, runs it, and says what it took.

    python -m nonesuch.benchmarks.memory_probe < (a pickled subject and batch) > (one line of JSON)

It reads what its own parent wrote to its standard input, and nothing else.
"""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from nonesuch.engine.errors import NonesuchError
from nonesuch.engine.session import Batch

from .subject import Subject

__all__ = ["Footprint", "main", "peak_rss_mib", "rss_mib"]

RUNS = 2
_MIB = 2.0**20


@dataclass(frozen=True)
class Footprint:
    """What a process took, MiB.

    Attributes:
        import_mib: resident once Python, numpy and our own modules were there.
        open_mib: resident once the runtime and the network were loaded.
        peak_mib: the most it ever had, runs included.
        device_mib: the most that PyTorch held on a CUDA device; None where it held nothing there. Untested.
        detail: of the subject.
    """

    import_mib: float
    open_mib: float
    peak_mib: float
    device_mib: float | None
    detail: str


def rss_mib() -> float:
    """Resident memory of this process now, MiB; needs psutil, of the extra `bench`."""
    psutil: Any = import_module("psutil")
    return float(psutil.Process().memory_info().rss) / _MIB


def peak_rss_mib() -> float:
    """The most resident memory that this process ever had, MiB."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would give the parent's peak, where that was higher when it started us
        lines = status.read_text().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) / 1024
    if sys.platform == "win32":
        psutil: Any = import_module("psutil")
        return float(psutil.Process().memory_info().peak_wset) / _MIB
    resource: Any = import_module("resource")
    peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak / _MIB if sys.platform == "darwin" else peak / 1024


def main() -> None:
    """Run the subject that comes on standard input, and print its footprint."""
    subject: Subject
    batch: Batch
    subject, batch = pickle.load(sys.stdin.buffer)  # noqa: S301  # our own parent wrote it
    import_mib = rss_mib()
    try:
        subject.open()
        open_mib, detail = rss_mib(), subject.detail
        for _ in range(RUNS):
            subject.run(batch)
        found = Footprint(import_mib, open_mib, peak_rss_mib(), _device_mib(), detail)
        subject.close()
    except NonesuchError as error:
        sys.exit(error.message)
    print(json.dumps(asdict(found)))


def _device_mib() -> float | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return float(torch.cuda.max_memory_reserved()) / _MIB or None


if __name__ == "__main__":
    main()
