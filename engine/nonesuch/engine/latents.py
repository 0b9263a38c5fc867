"""Latents in numpy: seeds -> z, and w -> ws by truncation, broadcasting and mixing.

Shapes: z [N, z_dim], w [N, w_dim], ws [N, num_ws, w_dim], all float32. Each sample is computed on its own, so a result
never depends on what else is in the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import FieldViolation, InvalidRequestError

__all__ = ["DEFAULT_PSI", "MAX_SEED", "PSI_LIMIT", "StyleMix", "check_psi", "check_seed", "truncate", "z_from_seeds"]

DEFAULT_PSI = 0.7
"""Truncation of faces from seeds and z where the caller names none."""
PSI_LIMIT = 2.0
MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class StyleMix:
    """Take the styles of some layers from another seed (Karras et al., arXiv 1812.04948, section 3.1)."""

    seed: int
    layers: tuple[int, ...]  # indices into ws


def check_seed(seed: int, field: str = "seed") -> int:
    """Return the seed if it is an unsigned 32-bit integer, which is what RandomState takes.

    Raises:
        InvalidRequestError: it is not.
    """
    if not 0 <= seed <= MAX_SEED:
        raise InvalidRequestError(FieldViolation(field, f"{seed} is out of range; seeds are 0 to {MAX_SEED}"))
    return int(seed)


def check_psi(psi: float, field: str = "psi") -> float:
    """Return psi if it is finite and within [-2, 2].

    Raises:
        InvalidRequestError: it is not.
    """
    if not math.isfinite(psi) or abs(psi) > PSI_LIMIT:
        raise InvalidRequestError(FieldViolation(field, f"{psi} is not within [-{PSI_LIMIT:g}, {PSI_LIMIT:g}]"))
    return float(psi)


def z_from_seeds(seeds: Sequence[int], z_dim: int) -> NDArray[np.float32]:
    """Draw z [N, z_dim] as NVIDIA's scripts do, so that a seed shows the same picture here and there.

    Raises:
        InvalidRequestError: a seed is out of range.
    """
    rows = [np.random.RandomState(check_seed(s)).randn(1, z_dim).astype(np.float32) for s in seeds]
    return np.concatenate(rows) if rows else np.empty((0, z_dim), dtype=np.float32)


def truncate(
    w: NDArray[np.float32], w_avg: NDArray[np.float32], num_ws: int, psi: float, cutoff: int | None = None
) -> NDArray[np.float32]:
    """Broadcast w [N, w_dim] to ws [N, num_ws, w_dim] and pull the first `cutoff` layers towards the mean.

    ws = w_avg + psi * (w - w_avg) (Karras et al., arXiv 1812.04948, appendix B); psi 1 returns w unchanged, bit for
    bit.

    Raises:
        InvalidRequestError: psi or cutoff is out of range.
    """
    check_psi(psi)
    if cutoff is not None and not 0 <= cutoff <= num_ws:
        raise InvalidRequestError(FieldViolation("cutoff", f"{cutoff} is out of range; the model has {num_ws} layers"))
    ws = np.repeat(w[:, None], num_ws, axis=1)
    if psi != 1.0:
        ws[:, :cutoff] = (w_avg + np.float32(psi) * (w - w_avg))[:, None]
    return ws
