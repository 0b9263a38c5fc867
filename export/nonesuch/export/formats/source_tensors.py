"""The tensors of a foreign checkpoint by its own names, each checked as it is taken, and none left over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError

from .read_limits import DEFAULT_LIMITS, ReadLimits
from .stored_array import StoredArray, array_view
from .stored_tensor import StoredTensor, strided_view
from .torch_legacy import open_storage

__all__ = ["SourceTensors"]

_MAX_VALUE = 1e20  # far above any weight, and far enough below the end of float32 to fold gains


class SourceTensors:
    """Tensors by name; what a converter does not take makes it refuse the network in `finish`.

    Args:
        tensors: stored tensors or arrays by the names of the file.
        label: the file's name in errors.
        content_bytes: size of the file's content; what is taken may not be much more, however often it is named.
        limits: what the file may ask for.
    """

    def __init__(
        self, tensors: Mapping[str, Any], label: str, content_bytes: int, limits: ReadLimits = DEFAULT_LIMITS
    ) -> None:
        self.label = label
        self._tensors = tensors
        self._limits = limits
        self._left = min(limits.tensor_bytes, 2 * content_bytes + (1 << 20))
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return self._tensors.get(name) is not None

    def names(self) -> Iterable[str]:
        """Every name that the file has, in its order."""
        return (name for name, value in self._tensors.items() if value is not None)

    def take(self, name: str, *shape: int | None) -> NDArray[np.float32]:
        """A copy of the tensor as float32, contiguous.

        Args:
            name: as the file has it.
            shape: what it must be; None is any size above zero.

        Raises:
            CheckpointError: there is none, its shape is another, it is damaged, or holds what is not finite.
        """
        what = f"{self.label}: tensor {name!r}"
        view = self._view(name, what)
        wanted = tuple("any" if size is None else size for size in shape)
        if view.ndim != len(shape) or any(
            size == 0 or expected not in (None, size) for size, expected in zip(view.shape, shape, strict=True)
        ):
            raise CheckpointError(f"{what} has shape {view.shape}, the network needs {_shape_text(wanted)}")
        if view.dtype.kind != "f":
            raise CheckpointError(f"{what} is {view.dtype}, not floating point")
        self._left -= view.nbytes
        if self._left < 0:
            raise CheckpointError(f"{what} and those before are larger than the file they come from")
        with np.errstate(over="ignore"):  # a float64 beyond float32 is found below
            array = np.array(view, dtype=np.float32, order="C")
        if not (np.abs(array) < _MAX_VALUE).all():  # false for what is not a number, too
            raise CheckpointError(f"{what} holds values that are not finite, or not of a network")
        self._taken.add(name)
        return array

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the tensor.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        return self._view(name, f"{self.label}: tensor {name!r}").shape

    def ignore(self, names: Iterable[str]) -> None:
        """Tensors that a picture does not depend on."""
        self._taken.update(names)

    def finish(self) -> None:
        """Refuse a network that has more tensors than were taken: it is another one than was thought.

        Raises:
            CheckpointError: names the first that was not taken.
        """
        for name in self.names():
            if name not in self._taken:
                raise CheckpointError(
                    f"{self.label}: tensor {str(name)[:100]!r} has no place in the network that this file was "
                    "recognised as; it is a variant that is not supported"
                )

    def _view(self, name: str, what: str) -> NDArray[Any]:
        value = self._tensors.get(name)
        if isinstance(value, StoredTensor):
            return strided_view(value, open_storage(value.storage, what, self._limits), what)
        if isinstance(value, StoredArray):
            return array_view(value, what)
        if isinstance(value, np.ndarray):
            return value
        if value is None:
            raise CheckpointError(f"{what} is missing")
        raise CheckpointError(f"{what} is no tensor")


def _shape_text(shape: tuple[Any, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
