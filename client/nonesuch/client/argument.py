"""Arguments of the caller -> values of the wire; a value that cannot be sent is refused by its argument's name."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex, TypeVar

from .errors import RequestError

# Numbers; numpy arrays and torch tensors are iterable and are taken as well.
Latent = Iterable[Any]

_MAX_UINT32 = 2**32 - 1
_Value = TypeVar("_Value")


def choice(name: str, values: Mapping[str, _Value], field: str) -> _Value:
    """The value of that name.

    Raises:
        RequestError: the name is unknown.
    """
    if not isinstance(name, str) or name not in values:
        raise RequestError.of(field, f"{name!r} is unknown; there are {', '.join(values)}")
    return values[name]


def uint32(value: SupportsIndex, field: str) -> int:
    """A whole number, 0 to 2**32 - 1.

    Raises:
        RequestError: it is not a whole number, or it is out of range.
    """
    try:
        number = operator.index(value)  # takes numpy's integers, refuses floats
    except TypeError:
        raise RequestError.of(field, f"{value!r} is not a whole number; give 0 to {_MAX_UINT32}") from None
    if not 0 <= number <= _MAX_UINT32:
        raise RequestError.of(field, f"{number} is out of range; it is 0 to {_MAX_UINT32}")
    return number


def one_float(value: Any, field: str) -> float:
    """A number as a float; the server checks its range.

    Raises:
        RequestError: it is not a number.
    """
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise RequestError.of(field, f"{value!r} is not a number") from None


def numbers(values: Latent, field: str) -> list[Any]:
    """The numbers as floats, in lists that are nested as the values are.

    Raises:
        RequestError: it is not a sequence, or an item is not a number.
    """
    read = _read(values, field)
    if not isinstance(read, list):
        raise RequestError.of(field, f"{values!r} is not a sequence; give a list, an array or a tensor")
    return read


def items(values: Any, field: str) -> Iterable[Any]:
    """The values, if they can be iterated and are not text.

    Raises:
        RequestError: they cannot be iterated, or are text.
    """
    if not isinstance(values, Iterable) or isinstance(values, str | bytes):
        raise RequestError.of(field, f"{values!r} is not a sequence; give a list")
    return values


def _read(value: Any, field: str) -> Any:
    # tolist() converts arrays of numpy and torch quickly, without an import of either.
    plain = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(plain, Iterable) and not isinstance(plain, str | bytes):
        return [_read(item, field) for item in plain]
    return one_float(plain, field)
