"""Reads the kernels that TensorRT-RTX made of a graph from the end of its verbose build log.

The log's format is undocumented, so this checks one pinned version and is not a part of the product: `test_fusion.py`
fails first if the format changes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Kernel", "activation_mib", "kernels_of"]

# Steps of the runtime between kernels.
_NOT_KERNELS = {"shape_call", "signal", "wait"}
_LINE = re.compile(r"^Name: (?P<name>.+?)(?:_myl(?P<profile>\d+)_\d+)?, LayerType: (?P<kind>\w+), (?P<rest>.*)$", re.M)
_NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_MEMORY = re.compile(r"^Total Activation Memory: (\d+) bytes", re.M)


@dataclass(frozen=True)
class Kernel:
    """One launch: the library's name and kind of it, its ONNX nodes, and its profile."""

    name: str
    kind: str
    nodes: frozenset[str]
    profile: int


def kernels_of(log: Sequence[str]) -> list[Kernel]:
    """All kernels of a plan built with `detailed`."""
    text = next(line for line in reversed(log) if line.lstrip().startswith("Layers:"))
    return [
        Kernel(found["name"], found["kind"], frozenset(_NODE.findall(found["rest"])), int(found["profile"] or 0))
        for found in _LINE.finditer(text)
        if found["kind"] not in _NOT_KERNELS
    ]


def activation_mib(log: Sequence[str]) -> float:
    """Device memory for activations, of the largest profile."""
    return max(int(size) for size in _MEMORY.findall("\n".join(log))) / (1 << 20)
