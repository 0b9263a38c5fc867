"""Reads pickles of protocol 0 to 5 as data. Never imports, looks up or calls anything that a file names.

Data flow: bytes -> opcodes -> plain Python values, `inert` objects, and tensors as `rebuilders` describe them.

The opcodes run on our own machine (`pickle_machine`), not on `pickle.Unpickler` with a `find_class`: the standard one
calls the objects on its stack, sets their attributes, hashes nested content, and allocates before any check. Here a
call is only recorded, and each opcode is checked before it acts. This is fast enough: a checkpoint has 10,000 to
100,000 opcodes of about a microsecond each, and its weights are a few hundred byte strings, which are sliced and not
copied.
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


def load_pickle(
    data: memoryview,
    label: str,
    limits: ReadLimits,
    start: int = 0,
    persistent_load: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
    """Read one pickle from `data`, starting at byte `start`.

    Args:
        data: the bytes; long byte strings of the result are views of it.
        label: the file's name in errors.
        limits: limits on sizes and counts.
        start: the position of the pickle.
        persistent_load: returns the object of a persistent id; without it such ids are refused.

    Returns:
        The object, and the end position of the pickle.

    Raises:
        CheckpointError: it is damaged, names something that only attacks name, contains itself, is nested too deeply,
            or exceeds the limits.
    """
    machine = PickleMachine(data, label, limits, start, persistent_load)
    value = machine.run(ACTIONS)
    _check_structure(value, label, limits.depth)
    return value, machine.position


def _check_structure(root: Any, label: str, depth: int) -> None:
    """Visit each container once, with an explicit stack, so that deep nesting cannot exhaust Python's.

    Raises:
        CheckpointError: a container contains itself, or containers are nested more than `depth` levels deep.
    """
    heights: dict[int, int] = {}  # levels below each visited container
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
                raise CheckpointError(f"{label}: an object of the pickle contains itself")
            else:
                entered.add(id(child))
                open_.append((child, _children(child), 0))
        else:
            open_.pop()
            heights[id(value)] = height
            if open_:
                parent, siblings, parent_height = open_[-1]
                open_[-1] = (parent, siblings, max(parent_height, 1 + height))
        if len(open_) + height > depth:
            raise CheckpointError(f"{label}: the objects of the pickle are nested more than {depth} deep")


def _children(value: Any) -> Iterator[Any]:
    """Yield the containers directly in `value`."""
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
