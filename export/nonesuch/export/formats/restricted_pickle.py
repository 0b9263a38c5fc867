"""Reads pickles of protocol 0 to 5 as data. Nothing that a file names is imported, looked up or called.

Data flow: bytes -> opcodes -> plain Python values, `inert` objects, and tensors as `rebuilders` describe them.

The opcodes run on a machine of our own (`pickle_machine`) and not on `pickle.Unpickler` with a `find_class`: the
standard one calls whatever lies on its stack, sets attributes of it, hashes what the file nested, and allocates before
anyone can object. Here a call only makes a record, and each opcode is bounded before it acts. That is fast enough,
because the weights of a checkpoint are a few hundred byte strings, which are sliced and not copied, among 10 000 to
100 000 opcodes of about a microsecond each.
Source of the opcodes: the comments of `pickletools` in the standard library; PEP 307, PEP 3154, PEP 574.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .pickle_machine import PickleMachine
from .pickle_opcodes import ACTIONS
from .pickle_structure import check_structure
from .read_limits import ReadLimits

__all__ = ["load_pickle"]


def load_pickle(
    data: memoryview,
    label: str,
    limits: ReadLimits,
    start: int = 0,
    persistent_load: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
    """Read one pickle of `data` from byte `start` on.

    Args:
        data: the bytes; long byte strings of the result are views of it.
        label: the file's name in errors.
        limits: what the file may ask for.
        start: where the pickle begins.
        persistent_load: what a persistent id stands for; without it there may be none.

    Returns:
        The object, and where the pickle ended.

    Raises:
        CheckpointError: it is damaged, names what only an attack names, contains itself, lies too deep, or asks for
            more than the limits.
    """
    machine = PickleMachine(data, label, limits, start, persistent_load)
    value = machine.run(ACTIONS)
    check_structure(value, label, limits.depth)
    return value, machine.position
