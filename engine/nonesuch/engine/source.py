"""The source of pictures: seeds, z, w or ws, as one value that all parts of nonesuch share.

    seeds --RandomState--> z [N, z_dim] --mapping--> w [N, w_dim] --one row per layer--> ws [N, num_ws, w_dim]

A source is one of `Seeds`, `Z`, `W` and `Ws`. It has a length and a default psi, can be sliced into the parts of a job,
and is checked against a model in one place, `fit`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InvalidRequestError
from .latents import DEFAULT_PSI, check_seed
from .manifest import Manifest


class _Source(ABC):
    """The interface of all sources."""

    default_psi: ClassVar[float]
    """The truncation by default: seeds and z are truncated, w and ws are not."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of pictures."""

    @abstractmethod
    def __getitem__(self, rows: slice) -> Self:
        """A source of the same kind for some of the pictures."""

    @abstractmethod
    def fit(self, manifest: Manifest) -> Source:
        """Check the source against a model, and return it in the form that the model takes.

        Raises:
            InvalidRequestError: a shape does not fit the model, or a value is not finite.
        """

    def psi(self, given: float | None) -> float:
        """The given truncation, or the default of this kind."""
        return self.default_psi if given is None else given

    def seed(self, index: int) -> int | None:
        """The seed of one picture; None for a latent."""
        return None

    def name(self, index: int) -> str:
        """The file name of one picture without its suffix, as the commands use it."""
        return f"w{index:04d}"


@dataclass(frozen=True)
class Seeds(_Source):
    """Seeds, unsigned 32-bit integers, from which `latents.z_from_seeds` draws z.

    Raises:
        InvalidRequestError: a seed is out of range.
    """

    default_psi = DEFAULT_PSI
    seeds: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", tuple(check_seed(seed) for seed in self.seeds))

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, rows: slice) -> Seeds:
        return Seeds(self.seeds[rows])

    def fit(self, manifest: Manifest) -> Seeds:
        """Return the source; every model accepts seeds."""
        return self

    def seed(self, index: int) -> int | None:
        """The seed of one picture."""
        return self.seeds[index]

    def name(self, index: int) -> str:
        """The file name without its suffix, as in the reference scripts."""
        return f"seed{self.seeds[index]:04d}"


@dataclass(frozen=True, eq=False)
class _Rows(_Source):
    """Latents as an array; each row of the first axis is one picture.

    Raises:
        InvalidRequestError: the values are not numbers.
    """

    field: ClassVar[str]
    rows: ArrayLike

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "rows", np.asarray(self.rows, dtype=np.float32))
        except (TypeError, ValueError) as error:
            raise InvalidRequestError.of(self.field, f"is not an array of numbers ({error})") from error

    @property
    def array(self) -> NDArray[np.float32]:
        """The rows, float32."""
        return self.rows  # type: ignore[return-value]  # __post_init__ made it an array

    def __len__(self) -> int:
        return len(self.array) if self.array.ndim else 0

    def __getitem__(self, rows: slice) -> Self:
        return type(self)(self.array[rows])

    def _check(self, shape: tuple[int, ...]) -> None:
        if self.array.ndim != len(shape) + 1 or self.array.shape[1:] != shape:
            expected = ", ".join(["N", *map(str, shape)])
            raise InvalidRequestError.of(self.field, f"shape {self.array.shape} does not fit [{expected}]")
        self._check_finite()

    def _check_finite(self) -> None:
        if not np.isfinite(self.array).all():
            raise InvalidRequestError.of(self.field, "has values that are not finite")


@dataclass(frozen=True, eq=False)
class Z(_Rows):
    """z float32 [N, z_dim], the input of the mapping network."""

    default_psi = DEFAULT_PSI
    field = "z"

    def fit(self, manifest: Manifest) -> Z:
        """Check z [N, z_dim]."""
        self._check((manifest.z_dim,))
        return self


@dataclass(frozen=True, eq=False)
class W(_Rows):
    """w float32 [N, w_dim]: one style for all layers.

    nonesuch.v1 carries w and ws in one field. Its reader sets `any_layers`, so that rows of num_ws * w_dim values are
    read as ws, row-major.
    """

    default_psi = 1.0
    field = "w"
    any_layers: bool = False

    def __getitem__(self, rows: slice) -> W:
        return W(self.array[rows], self.any_layers)

    def fit(self, manifest: Manifest) -> W | Ws:
        """Check w [N, w_dim], or return the ws that `any_layers` allows."""
        num_ws, w_dim = manifest.num_ws, manifest.w_dim
        if not self.any_layers or self.array.ndim != 2:
            self._check((w_dim,))
            return self
        self._check_finite()
        count = self.array.shape[1]
        if count == w_dim:
            return W(self.array)
        if count == num_ws * w_dim:
            return Ws(self.array.reshape(-1, num_ws, w_dim))
        raise InvalidRequestError.of(
            "w", f"has {count} values; the model takes {w_dim}, or {num_ws * w_dim} for a style per layer"
        )


@dataclass(frozen=True, eq=False)
class Ws(_Rows):
    """ws float32 [N, num_ws, w_dim]: a style for each layer."""

    default_psi = 1.0
    field = "ws"

    def fit(self, manifest: Manifest) -> Ws:
        """Check ws [N, num_ws, w_dim]."""
        self._check((manifest.num_ws, manifest.w_dim))
        return self


Source = Seeds | Z | W | Ws


def source_of(
    *,
    seeds: Sequence[int] | None = None,
    z: ArrayLike | None = None,
    w: ArrayLike | None = None,
    ws: ArrayLike | None = None,
) -> Source:
    """Make a source of exactly one of seeds, z [N, z_dim], w [N, w_dim] and ws [N, num_ws, w_dim].

    Raises:
        InvalidRequestError: not exactly one is given, a seed is out of range, or values are not numbers.
    """
    if sum(given is not None for given in (seeds, z, w, ws)) != 1:
        raise InvalidRequestError.of("source", "give exactly one of seeds, z, w and ws")
    if seeds is not None:
        return Seeds(seeds)
    if z is not None:
        return Z(z)
    return Ws(ws) if w is None else W(w)  # type: ignore[arg-type]  # one of them is given
