"""NumPy arrays, dtypes and scalars as stored in a pickle; plain numbers only, never objects.

Source: ndarray.__reduce__ and dtype.__reduce__ of NumPy: `_reconstruct(ndarray, (0,), b"b")` with the state (version,
shape, dtype, fortran, bytes); `_frombuffer(bytes, dtype, shape, order)` in protocol 5; `dtype("f4", align, copy)` with
the state (3, byte order, ...); `scalar(dtype, bytes)`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError

_NUMBER_CODE = re.compile("[<>=|]?(b1|[iu][1248]|f[248])")
_MAX_DIMENSIONS = 8


@dataclass(eq=False, repr=False)
class StoredDtype:
    """A dtype: its code, such as `f4`, and its byte order."""

    code: str
    order: str = "="

    @classmethod
    def from_args(cls, args: tuple[Any, ...], label: str) -> StoredDtype:
        """Read the arguments of numpy.dtype.

        Raises:
            CheckpointError: the dtype is for objects, or is not a string.
        """
        code = args[0] if args else None
        if isinstance(code, str) and code.lstrip("<>=|").startswith("O"):
            raise CheckpointError(
                f"{label}: a numpy array of objects is not supported, because it can contain anything"
            )
        if not isinstance(code, str):
            raise CheckpointError(f"{label}: a numpy dtype is not a string")
        return cls(code[:20])

    def set_state(self, state: Any) -> None:
        """Read the byte order from the pickled state."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    def resolve(self, what: str) -> np.dtype[Any]:
        """Return the NumPy dtype.

        Raises:
            CheckpointError: it is not a dtype of plain numbers.
        """
        if not _NUMBER_CODE.fullmatch(self.code):
            raise CheckpointError(f"{what} has the numpy dtype {self.code!r}, which is not supported")
        dtype = np.dtype(self.code)
        return dtype.newbyteorder(">" if self.order == ">" else "<")


@dataclass(eq=False, repr=False)
class StoredArray:
    """An array's state after `_reconstruct` and BUILD: (version, shape, dtype, fortran, data)."""

    state: Any = None


def array_view(array: StoredArray, what: str) -> NDArray[Any]:
    """Return the array as a view of the file's bytes.

    Args:
        array: the state, not yet checked.
        what: the file and the array, for errors.

    Raises:
        CheckpointError: the state is invalid, the dtype is not one of plain numbers, or shape and data disagree.
    """
    state = array.state
    if not isinstance(state, tuple) or len(state) != 5:
        raise CheckpointError(f"{what} is a numpy array without a readable state")
    _, shape, stored, fortran, data = state
    if not isinstance(stored, StoredDtype):
        raise CheckpointError(f"{what} is a numpy array without a dtype")
    dtype = stored.resolve(what)
    if not isinstance(shape, tuple) or not all(type(extent) is int and 0 <= extent < 1 << 31 for extent in shape):
        raise CheckpointError(f"{what} is a numpy array with an impossible shape")
    if not isinstance(data, bytes | memoryview | str):
        raise CheckpointError(f"{what} is a numpy array of objects, which is not supported, or has no data")
    count = 1
    for extent in shape:
        count *= extent
    if len(shape) > _MAX_DIMENSIONS or count * dtype.itemsize != len(data):
        raise CheckpointError(f"{what} of shape {shape[:_MAX_DIMENSIONS]} does not fill its {len(data)} bytes")
    if isinstance(data, str):  # bytes as Python 2 pickled them
        data = data.encode("latin-1", "replace")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def scalar_value(args: tuple[Any, ...], label: str) -> bool | int | float:
    """Return the Python number for a numpy scalar's arguments (dtype, bytes).

    Raises:
        CheckpointError: they do not describe a plain number.
    """
    if len(args) != 2 or not isinstance(args[0], StoredDtype):
        raise CheckpointError(f"{label}: a numpy scalar without a dtype")
    state = (1, (1,), args[0], False, args[1])
    value: bool | int | float = array_view(StoredArray(state), f"{label}: a numpy scalar").item()
    return value
