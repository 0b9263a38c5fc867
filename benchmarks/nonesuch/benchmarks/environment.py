"""The machine and the software that a result depends on, and what made a run less trustworthy."""

from __future__ import annotations

import os
import platform
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np

from nonesuch.engine.machine import cpu_name, usable_cores

from .result import NOTE, BenchmarkError

PACKAGES = (
    "nonesuch", "numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "tensorrt", "tensorrt-rtx", "onnx",
    "pillow", "isal", "grpcio", "scikit-image", "psutil",
)  # fmt: skip
VARIABLES = (
    "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OMP_PROC_BIND", "GOMP_CPU_AFFINITY", "KMP_AFFINITY", "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS", "ONEDNN_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "CUDA_VISIBLE_DEVICES",
    "NVIDIA_TF32_OVERRIDE", "LD_PRELOAD", "MALLOC_ARENA_MAX",
)  # fmt: skip
SIMD_FLAGS = (
    "avx2", "fma", "avx512f", "avx512vl", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_tile",
    "amx_bf16", "amx_int8", "asimd", "asimdhp", "asimddp", "sve", "i8mm", "bf16",
)  # fmt: skip

OTHERS_LIMIT, LOAD_LIMIT, STEAL_LIMIT = 0.10, 0.5, 0.02

_CPU = Path("/sys/devices/system/cpu")
_GOVERNOR = _CPU / "cpu0/cpufreq/scaling_governor"


@dataclass(frozen=True)
class Snapshot:
    """Seconds of processor time so far, to be compared with a later snapshot."""

    wall_s: float  # of a monotonic clock
    busy_s: float  # of all cores, by whatever ran on the machine
    own_s: float  # of this process and its children, dead ones included
    steal_s: float  # that the hypervisor gave to other machines
    cores: int  # of the machine
    load: float  # the load average of the last minute; negative where the system has none


def load_psutil() -> Any:
    """The module psutil, of the extra `bench`. Raises BenchmarkError where it is missing."""
    try:
        return import_module("psutil")
    except ImportError as error:
        raise BenchmarkError("psutil is not installed; install it with: pip install 'nonesuch[bench]'") from error


def snapshot() -> Snapshot:
    """What the machine has done so far. Raises as `load_psutil`."""
    psutil = load_psutil()
    times = psutil.cpu_times()
    # Guest time is part of user time already, and waiting for a disk is idle time.
    busy = sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq"))
    me = psutil.Process()
    own = 0.0
    for process in [me, *me.children(recursive=True)]:
        try:
            spent = process.cpu_times()
        except psutil.Error:  # it ended while we looked; its time is in its parent's when that has waited for it
            continue
        own += spent.user + spent.system + getattr(spent, "children_user", 0) + getattr(spent, "children_system", 0)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else -1.0
    return Snapshot(time.monotonic(), busy, own, getattr(times, "steal", 0.0), psutil.cpu_count() or 1, load)


def busy_flags(before: Snapshot, after: Snapshot) -> list[str]:
    """What made the run between two snapshots less trustworthy, in one line each; empty for a quiet machine.

    The load average counts only before a run: afterwards it is our own. A line that starts with "note:" says
    something of the machine that a reader should know, but that does not disqualify the run.
    """
    flags: list[str] = []
    wall_s = after.wall_s - before.wall_s
    if before.load > LOAD_LIMIT:
        flags.append(f"the load average was {before.load:.2f} before the run; a quiet machine is below {LOAD_LIMIT}")
    if wall_s > 0:
        capacity_s = wall_s * after.cores
        others = (after.busy_s - before.busy_s - (after.own_s - before.own_s)) / capacity_s
        if others > OTHERS_LIMIT:
            flags.append(f"other processes used {others:.0%} of the cores; a quiet machine is below {OTHERS_LIMIT:.0%}")
        steal = (after.steal_s - before.steal_s) / capacity_s
        if steal > STEAL_LIMIT:
            flags.append(f"the hypervisor took {steal:.1%} of the processor time; {STEAL_LIMIT:.0%} is tolerated")
    if (governor := _read(_GOVERNOR)) not in {"", "performance"}:
        flags.append(f"{NOTE} the CPU governor is {governor}, not performance")
    return flags


def record() -> dict[str, str]:
    """The machine and the software, name to value. What cannot be found out here is "unknown" or left out."""
    # The first processor's; there is no such file on other systems.
    lines = _read(Path("/proc/cpuinfo")).split("\n\n")[0].splitlines()
    info = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = (info.get("flags") or info.get("Features") or "").split()
    # What tells processors apart that a hypervisor gives one name.
    parts = {"vendor": "vendor_id", "family": "cpu family", "model": "model", "stepping": "stepping"}
    packages = {_read(path) for path in _CPU.glob("cpu[0-9]*/topology/physical_package_id")}
    siblings = _read(_CPU / "cpu0/topology/thread_siblings_list")
    threads = len(siblings.replace("-", ",").split(",")) if siblings else "?"
    topology = f"{len(packages)} socket(s), {info.get('cpu cores', '?')} cores each, {threads} thread(s) per core"
    indexes = [(_read(index / "level"), index) for index in sorted((_CPU / "cpu0/cache").glob("index*"))]
    caches = [
        f"L{level} {_read(index / 'size')} shared by cpus {_read(index / 'shared_cpu_list')}"
        for level, index in indexes
        if level in {"2", "3"} and _read(index / "size")
    ]
    has_pages = hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names
    found = {
        "cpu": cpu_name(),
        "cores": f"{usable_cores()} available of {os.cpu_count()}",
        "cpu_model": ", ".join(f"{part} {info[key]}" for part, key in parts.items() if key in info),
        "topology": topology if packages else "",
        "simd": " ".join(name for name in SIMD_FLAGS if name in flags),
        "cache": ", ".join(caches),
        "memory_gib": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f}" if has_pages else "",
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "governor": _read(_GOVERNOR),
        "virtual_machine": ("yes" if "hypervisor" in flags else "no") if info else "",
        "load_average": " ".join(f"{load:.2f}" for load in os.getloadavg()) if hasattr(os, "getloadavg") else "",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "gpus": _gpus(),
    }
    found = {name: value or "unknown" for name, value in found.items()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    found |= {name: os.environ[name] for name in VARIABLES if name in os.environ}
    return found


def sgemm_gflops(sizes: tuple[int, ...] = (1024, 2048), repeats: int = 3) -> float:
    """The rate of float32 matrix products on all cores, GFLOP/s: the best of several runs of n x n by n x n.

    It is the arithmetic floor's denominator: no convolution of the model can be expected to run faster. numpy's BLAS
    does the work, 2 n^3 operations a product.
    """
    best = 0.0
    for size in sizes:
        random = np.random.default_rng(0)
        a, b = (random.standard_normal((size, size), dtype=np.float32) for _ in range(2))
        out = np.empty((size, size), dtype=np.float32)
        for _ in range(repeats):
            start = time.perf_counter()
            np.matmul(a, b, out=out)
            best = max(best, 2 * size**3 / (time.perf_counter() - start) / 1e9)
    return best


def _gpus() -> str:
    """Names of CUDA devices and the driver, as PyTorch sees them."""
    try:
        cuda: Any = import_module("torch").cuda
    except ImportError:
        return "unknown: torch is not installed"
    if not cuda.is_available():
        return "none"
    names = [cuda.get_device_name(index) for index in range(cuda.device_count())]
    return f"{', '.join(names)}; driver {_read(Path('/sys/module/nvidia/version')) or 'unknown'}"


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
