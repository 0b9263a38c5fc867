"""Which kernels TensorRT-RTX made of a graph, read from the end of its verbose build log.

The log's format is documented nowhere, so this is a check of one pinned version and no part of the product: where the
version changes, `test_fusion.py` says so first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Kernel", "activation_mib", "kernels_of"]

# What the runtime does between kernels, and no kernel itself.
_NO_KERNELS = {"shape_call", "signal", "wait"}
_LINE = re.compile(r"^Name: (?P<name>.+?)(?:_myl(?P<profile>\d+)_\d+)?, LayerType: (?P<kind>\w+), (?P<rest>.*)$", re.M)
_NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_MEMORY = re.compile(r"^Total Activation Memory: (\d+) bytes", re.M)


@dataclass(frozen=True)
class Kernel:
    """One launch: its name and kind in the library's words, the ONNX nodes in it, and the profile it belongs to."""

    name: str
    kind: str
    nodes: frozenset[str]
    profile: int


def kernels_of(log: Sequence[str]) -> list[Kernel]:
    """All kernels of a plan that was built with `detailed`."""
    text = next(line for line in reversed(log) if line.lstrip().startswith("Layers:"))
    return [
        Kernel(found["name"], found["kind"], frozenset(_NODE.findall(found["rest"])), int(found["profile"] or 0))
        for found in _LINE.finditer(text)
        if found["kind"] not in _NO_KERNELS
    ]


def activation_mib(log: Sequence[str]) -> float:
    """Device memory for activations, of the largest profile."""
    return max(int(size) for size in _MEMORY.findall("\n".join(log))) / (1 << 20)
