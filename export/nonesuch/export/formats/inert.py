"""What a pickle becomes here: names, and objects that only remember what they were built from.

A pickle is a program; `restricted_pickle` runs it with nothing but these on its stack. A `GlobalName` is never looked
up, and calling one only records the call, so no file can reach code that is not in this package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["GlobalName", "Inert", "PickledKey", "attribute", "plain_key", "plain_text"]


@dataclass(frozen=True)
class GlobalName:
    """A name that the pickle refers to, `module` and `name` as written; nothing is imported."""

    module: str
    name: str

    @property
    def full(self) -> str:
        """Dotted, with the names of Python 2 in their Python 3 form."""
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(self.module, self.module)
        return f"{module}.{self.name}"

    def __str__(self) -> str:
        return ascii(self.full[:100])[1:-1]


@dataclass(eq=False, repr=False)
class Inert:
    """An object of a class that is not known here: what it was called with, its state and its content.

    Attributes:
        name: of the class or function that would have made it.
        args: the arguments of the call.
        state: what BUILD gave it, None if nothing did.
        items: what was set by key.
        elements: what was appended or added.
    """

    name: GlobalName
    args: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Inert({self.name})"


@dataclass(eq=False, repr=False)
class PickledKey:
    """A key of a dict that is no plain value: hashed by identity, because hashing what a file nested can be slow."""

    value: Any


def plain_key(key: Any) -> Any:
    """A key as it is where it is plain, else one that is hashed by identity."""
    return key if key is None or isinstance(key, str | int | float | bytes) else PickledKey(key)


def attribute(value: Any, name: str) -> Any:
    """An attribute of an inert object, by its state; None where there is none."""
    state = value.state if isinstance(value, Inert) else value
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[0], dict):  # with the state of __slots__
        state = state[0]
    return state.get(name) if isinstance(state, dict) else None


def plain_text(value: Any) -> str:
    """A value for an error message, short; containers only by their type, because their text may be endless."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return ascii(value)[:60]
    return f"an object of {value.name}" if isinstance(value, Inert) else f"a {type(value).__name__}"
