"""Identifies the machine by everything that decides which settings are fastest.

Tuning and compiled engines are stored under the machine's id, so that several machines can share a home folder.
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")


def usable_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """The name of the processor, or its architecture if it has none."""
    return _cpu_field("model name") or platform.processor() or platform.machine()


def machine_id() -> str:
    """12 hex digits over the processor, its instruction sets and the cores that this process may use."""
    flags = " ".join(sorted(_cpu_field("flags").split()))
    parts = (platform.system(), platform.machine(), cpu_name(), flags, str(usable_cores()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _cpu_field(name: str) -> str:
    """A field of the first processor in /proc/cpuinfo; empty if not found."""
    try:
        text = _CPU_INFO.read_text(errors="replace")
    except OSError:
        return ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
