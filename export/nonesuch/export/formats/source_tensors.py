"""The tensors of a foreign checkpoint by its own names: each is checked when taken, and all must be taken."""

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

_MAX_VALUE = 1e20  # far above any weight, and low enough for gains to be folded within float32


class SourceTensors:
    """Tensors by name; `finish` raises if a converter did not take all of them.

    Args:
        tensors: stored tensors or arrays by the names of the file.
        label: the file's name in errors.
        content_bytes: size of the file's content; limits the total size of the tensors taken.
        limits: limits on sizes and counts.
    """

    def __init__(
        self, tensors: Mapping[str, Any], label: str, content_bytes: int, limits: ReadLimits = DEFAULT_LIMITS
    ) -> None:
        self.label = label
        self._tensors = tensors
        self._limits = limits
        self._bytes_left = min(limits.tensor_bytes, 2 * content_bytes + (1 << 20))
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return self._tensors.get(name) is not None

    def names(self) -> Iterable[str]:
        """Return every name in the file, in its order."""
        return (name for name, value in self._tensors.items() if value is not None)

    def take(self, name: str, *shape: int | None) -> NDArray[np.float32]:
        """Return a contiguous float32 copy of the tensor.

        Args:
            name: its name in the file.
            shape: the expected shape; None is any size above zero.

        Raises:
            CheckpointError: the tensor is missing or damaged, or has the wrong shape or values that are not finite.
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
        self._bytes_left -= view.nbytes
        if self._bytes_left < 0:
            raise CheckpointError(f"{what} and those before it are larger than the file")
        with np.errstate(over="ignore"):  # a float64 beyond float32 is detected below
            array = np.array(view, dtype=np.float32, order="C")
        if not (np.abs(array) < _MAX_VALUE).all():  # also false for NaN
            raise CheckpointError(f"{what} has values that are not finite, or too large for a network")
        self._taken.add(name)
        return array

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of the tensor.

        Raises:
            CheckpointError: the tensor is missing or damaged.
        """
        return self._view(name, f"{self.label}: tensor {name!r}").shape

    def ignore(self, names: Iterable[str]) -> None:
        """Accept tensors that do not affect pictures."""
        self._taken.update(names)

    def finish(self) -> None:
        """Check that all tensors were taken; otherwise it is a different network.

        Raises:
            CheckpointError: a tensor was not taken; names the first.
        """
        for name in self.names():
            if name not in self._taken:
                raise CheckpointError(
                    f"{self.label}: tensor {str(name)[:100]!r} does not belong to the network that this file was "
                    "recognised as; this variant is not supported"
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
        raise CheckpointError(f"{what} is not a tensor")


def _shape_text(shape: tuple[Any, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
