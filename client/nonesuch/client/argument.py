"""Arguments of the caller -> values that the wire can carry, refused by the argument's name where it cannot."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex, TypeVar

from .errors import RequestError

__all__ = ["Latent", "choice", "items", "numbers", "one_float", "uint32"]

# Numbers; numpy arrays and torch tensors are iterable and are taken as well.
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


def numbers(values: Latent, field: str) -> list[Any]:
    """The numbers as floats, in lists that are nested as the values are.

    Raises:
        RequestError: it is no sequence, or something else than numbers is in it.
    """
    read = _read(values, field)
    if not isinstance(read, list):
        raise RequestError.of(field, f"{values!r} is no sequence")
    return read


def items(values: Any, field: str) -> Iterable[Any]:
    """What can be iterated and is no text.

    Raises:
        RequestError: it is something else.
    """
    if not isinstance(values, Iterable) or isinstance(values, str | bytes):
        raise RequestError.of(field, f"{values!r} is no sequence")
    return values


def _read(value: Any, field: str) -> Any:
    # tolist() is how numpy and torch give up an array quickly; neither is imported for it.
    plain = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(plain, Iterable) and not isinstance(plain, str | bytes):
        return [_read(item, field) for item in plain]
    return one_float(plain, field)
