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

from collections.abc import Callable, Iterator
from typing import Any

from nonesuch.engine.errors import CheckpointError

from .inert import Inert, PickledKey
from .pickle_machine import PickleMachine
from .pickle_opcodes import ACTIONS
from .read_limits import ReadLimits
from .stored_array import StoredArray
from .stored_tensor import StoredTensor

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
    _check_structure(value, label, limits.depth)
    return value, machine.position


def _check_structure(root: Any, label: str, depth: int) -> None:
    """Walk the containers once each, with a stack of our own, so that no depth can exhaust Python's.

    Raises:
        CheckpointError: a container contains itself, or there are more than `depth` within one another.
    """
    heights: dict[int, int] = {}  # of containers that are done: the containers below them
    open_: list[tuple[Any, Iterator[Any], int]] = [(root, _children(root), 0)]
    entered = {id(root)}
    while open_:
        value, children, height = open_[-1]
        child = next(children, None)
        if child is not None:
            if id(child) in heights:
                height = max(height, 1 + heights[id(child)])
                open_[-1] = (value, children, height)
            elif id(child) in entered:
                raise CheckpointError(f"{label}: an object of the pickle contains itself, as in no checkpoint")
            else:
                entered.add(id(child))
                open_.append((child, _children(child), 0))
        else:
            open_.pop()
            heights[id(value)] = height
            if open_:
                above, siblings, so_far = open_[-1]
                open_[-1] = (above, siblings, max(so_far, 1 + height))
        if len(open_) + height > depth:
            raise CheckpointError(f"{label}: the objects of the pickle lie more than {depth} deep, as in no checkpoint")


def _children(value: Any) -> Iterator[Any]:
    """The containers directly in `value`."""
    return (child for child in _content(value) if isinstance(child, _CONTAINERS))


def _content(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
    elif isinstance(value, Inert):
        yield from (value.args, value.state, value.items, value.elements)
    elif isinstance(value, PickledKey):
        yield value.value
    elif isinstance(value, StoredTensor):
        yield value.storage
    elif isinstance(value, StoredArray):
        yield value.state


_CONTAINERS = (dict, list, tuple, Inert, PickledKey, StoredTensor, StoredArray)
