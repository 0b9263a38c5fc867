"""Finds directions of w along which pictures change most, without data or labels, and moves styles along them.

SeFa: Shen and Zhou, "Closed-Form Factorization of Latent Semantics in GANs", arXiv 2007.06600, section 3.2. A style is
s = A w + b, so a step n changes the styles by A n; the steps of unit length that change them most are the eigenvectors
of AᵀA with the largest eigenvalues, where A stacks the affine weights of the chosen layers.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import InvalidRequestError

MAX_STRENGTH = 1000
"""In units of w; w itself is of order 1 to 10."""
# What numpy raises for files that are not .npz, or are damaged.
_UNREADABLE = (OSError, ValueError, TypeError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Directions:
    """Unit vectors in w, strongest first, for some layers of one model."""

    vectors: NDArray[np.float32]  # [count, w_dim]
    eigenvalues: NDArray[np.float32]  # [count], descending
    layers: tuple[int, ...]  # the indices into ws that they apply to
    model_id: str

    def check_model(self, model_id: str) -> None:
        """Check that the directions belong to a model.

        Raises:
            InvalidRequestError: they belong to another model.
        """
        if model_id != self.model_id:
            raise InvalidRequestError.of(
                "direction",
                f"the directions are for model {self.model_id[:12]}, not for {model_id[:12]}; use this model's own",
            )

    def move(self, ws: NDArray[np.float32], index: int, strength: float) -> NDArray[np.float32]:
        """Move styles ws [N, num_ws, w_dim] by `strength` along one direction, in its layers.

        Raises:
            InvalidRequestError: index or strength is out of range, or the shape does not fit the model.
        """
        if not abs(strength) <= MAX_STRENGTH:
            raise InvalidRequestError.of("strength", f"{strength} is not within [-{MAX_STRENGTH}, {MAX_STRENGTH}]")
        if not 0 <= index < len(self.vectors):
            raise InvalidRequestError.of("direction", f"{index} is out of range; use 0 to {len(self.vectors) - 1}")
        if self.vectors.shape[1] != ws.shape[2] or max(self.layers) >= ws.shape[1]:
            raise InvalidRequestError.of(
                "direction",
                f"the directions are for w of {self.vectors.shape[1]} values, the model's has {ws.shape[2]}",
            )
        moved = ws.copy()
        moved[:, list(self.layers)] += np.float32(strength) * self.vectors[index]
        return moved

    def save(self, path: Path) -> None:
        """Write an .npz file for `load`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            np.savez(
                stream,
                vectors=self.vectors,
                eigenvalues=self.eigenvalues,
                layers=np.array(self.layers, dtype=np.int64),
                model_id=np.array(self.model_id),
            )

    @classmethod
    def load(cls, path: Path) -> Directions:
        """Read a file that `save` wrote, without unpickling anything.

        Raises:
            InvalidRequestError: the file is not such a file.
        """
        try:
            # Opened here, because numpy leaves its own handle open if the file is not an archive.
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
                found = cls(
                    vectors=np.asarray(content["vectors"], dtype=np.float32),
                    eigenvalues=np.asarray(content["eigenvalues"], dtype=np.float32),
                    layers=tuple(int(layer) for layer in content["layers"]),
                    model_id=str(content["model_id"]),
                )
        except _UNREADABLE as error:
            raise InvalidRequestError.of(
                "direction", f"{path} has no directions ({error}); make it with nonesuch directions"
            ) from error
        if found.vectors.ndim != 2 or not found.layers or min(found.layers) < 0 or not np.isfinite(found.vectors).all():
            raise InvalidRequestError.of(
                "direction", f"{path} has no directions of shape [count, w_dim]; make it with nonesuch directions"
            )
        return found


def factorize(affines: Sequence[NDArray[np.float32]], layers: Sequence[int], count: int, model_id: str) -> Directions:
    """The `count` strongest directions of affine weights [C, w_dim] of the layers.

    A direction's sign is arbitrary; here its largest component is positive, so results repeat across machines.

    Raises:
        InvalidRequestError: the count is not 1 to w_dim.
    """
    stacked = np.concatenate(affines).astype(np.float64)
    w_dim = stacked.shape[1]
    if not 1 <= count <= w_dim:
        raise InvalidRequestError.of("count", f"{count} is out of range; w has {w_dim} values")
    eigenvalues, eigenvectors = np.linalg.eigh(stacked.T @ stacked)
    vectors = eigenvectors[:, ::-1].T[:count]
    peaks = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    return Directions(
        vectors=np.asarray(vectors * np.sign(peaks), dtype=np.float32),
        eigenvalues=np.asarray(eigenvalues[::-1][:count], dtype=np.float32),
        layers=tuple(layers),
        model_id=model_id,
    )
