"""Looks at what a pickle built: nothing may contain itself or lie very deep, so everything behind may walk freely."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nonesuch.engine.errors import CheckpointError

from .inert import Inert, PickledKey
from .stored_array import StoredArray
from .stored_tensor import StoredTensor

__all__ = ["check_structure"]


def check_structure(root: Any, label: str, depth: int) -> None:
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
