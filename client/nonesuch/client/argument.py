"""Arguments of the caller -> values that the wire can carry, refused by the argument's name where it cannot."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, SupportsIndex, TypeVar

from .errors import RequestError

__all__ = ["Latent", "choice", "floats", "items", "one_float", "uint32"]

# Numbers, nested or flat; numpy arrays and torch tensors are iterable and are taken as well.
Latent = Iterable[Any]

_MAX_UINT32 = 2**32 - 1
_Value = TypeVar("_Value")


def choice(name: str, values: Mapping[str, _Value], field: str) -> _Value:
    """The value of that name.

    Raises:
        RequestError: there is none.
    """
    if not isinstance(name, str) or name not in values:
        raise RequestError.of(field, f"{name!r} is unknown; there are {', '.join(values)}")
    return values[name]


def uint32(value: SupportsIndex, field: str) -> int:
    """A whole number of 32 bits.

    Raises:
        RequestError: it is none.
    """
    try:
        number = operator.index(value)  # takes numpy's integers, refuses floats
    except TypeError:
        raise RequestError.of(field, f"{value!r} is no whole number") from None
    if not 0 <= number <= _MAX_UINT32:
        raise RequestError.of(field, f"{number} is out of range; it is 0 to {_MAX_UINT32}")
    return number


def one_float(value: Any, field: str) -> float:
    """A number; whether it is a sensible one, the server judges.

    Raises:
        RequestError: it is none.
    """
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise RequestError.of(field, f"{value!r} is no number") from None


def floats(values: Latent, field: str) -> list[float]:
    """The numbers of a latent in row-major order, at least one.

    Raises:
        RequestError: there are none, or something else among them.
    """
    # tolist() is how numpy and torch give up an array quickly; neither is imported for it.
    plain = values.tolist() if hasattr(values, "tolist") else values
    numbers = list(_flat(plain, field))
    if not numbers:
        raise RequestError.of(field, "there are no values; a latent has z_dim, w_dim or num_ws * w_dim of them")
    return numbers


def items(values: Any, field: str) -> Iterable[Any]:
    """What can be iterated and is no text.

    Raises:
        RequestError: it is something else.
    """
    if not isinstance(values, Iterable) or isinstance(values, str | bytes):
        raise RequestError.of(field, f"{values!r} is no sequence")
    return values


def _flat(values: Any, field: str) -> Iterator[float]:
    for value in items(values, field):
        if isinstance(value, Iterable) and not isinstance(value, str | bytes):
            yield from _flat(value, field)
        else:
            yield one_float(value, field)
