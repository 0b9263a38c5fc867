"""Latents in numpy: seeds -> z, and w -> ws by truncation and broadcasting; noise and transforms of one image.

Shapes: z [N, z_dim], w [N, w_dim], ws [N, num_ws, w_dim], all float32. Each sample is computed on its own, so a result
never depends on what else is in the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .errors import InvalidRequestError

DEFAULT_PSI = 0.7
"""The truncation of images from seeds and z by default."""
PSI_LIMIT = 2.0
MAX_SEED = 2**32 - 1
MAX_MOVE = 1000
"""In widths of the picture, and in degrees; above it the sines of a sampling grid lose all precision."""


def check_seed(seed: int, field: str = "seed") -> int:
    """Return the seed if it is an unsigned 32-bit integer, as RandomState requires.

    Raises:
        InvalidRequestError: the seed is out of range.
    """
    if not 0 <= seed <= MAX_SEED:
        raise InvalidRequestError.of(field, f"{seed} is out of range; seeds are 0 to {MAX_SEED}")
    return int(seed)


def check_psi(psi: float, field: str = "psi") -> float:
    """Return psi if it is finite and within [-2, 2].

    Raises:
        InvalidRequestError: psi is out of range.
    """
    if not math.isfinite(psi) or abs(psi) > PSI_LIMIT:
        raise InvalidRequestError.of(field, f"{psi} is not within [-{PSI_LIMIT:g}, {PSI_LIMIT:g}]")
    return float(psi)


def z_from_seeds(seeds: Sequence[int], z_dim: int) -> NDArray[np.float32]:
    """Draw z [N, z_dim] as NVIDIA's scripts do, so that a seed shows the same picture in both.

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
    return truncate_ws(np.repeat(w[:, None], num_ws, axis=1), w_avg, psi, cutoff)


def truncate_ws(
    ws: NDArray[np.float32], w_avg: NDArray[np.float32], psi: float, cutoff: int | None = None
) -> NDArray[np.float32]:
    """`truncate` for styles that differ by layer: ws [N, num_ws, w_dim] -> the same shape.

    Raises:
        InvalidRequestError: psi or cutoff is out of range.
    """
    check_psi(psi)
    num_ws = ws.shape[1]
    if cutoff is not None and not 0 <= cutoff <= num_ws:
        raise InvalidRequestError.of("cutoff", f"{cutoff} is out of range; the model has {num_ws} layers")
    if psi == 1.0:
        return ws
    pulled = w_avg + np.float32(psi) * (ws[:, :cutoff] - w_avg)
    return np.concatenate([pulled, ws[:, pulled.shape[1] :]], axis=1, dtype=np.float32)


def noise_from_seed(seed: int, shapes: Sequence[tuple[int, ...]]) -> list[NDArray[np.float32]]:
    """Draw the noise of one image: standard normal, float32, one array per shape, from its own PCG64 stream.

    The stream differs from the one that draws z, so noise and latent of a seed are independent.

    Raises:
        InvalidRequestError: the seed is out of range.
    """
    generator = np.random.Generator(np.random.PCG64([check_seed(seed, "noise_seed"), 1]))
    return [generator.standard_normal(shape, dtype=np.float32) for shape in shapes]


def transform_matrix(translate: tuple[float, float], rotate_degrees: float) -> NDArray[np.float32]:
    """The matrix [3, 3] that makes StyleGAN3 translate and rotate its picture.

    `translate` is (x, y) in widths of the picture. As in the reference scripts, the sampling grid takes the inverse of
    the picture's motion (Karras et al., arXiv 2106.12423, appendix F).

    Raises:
        InvalidRequestError: a value is not within [-1000, 1000].
    """
    if not all(abs(value) <= MAX_MOVE for value in (*translate, rotate_degrees)):
        raise InvalidRequestError.of(
            "transform", f"{translate} and {rotate_degrees} degrees are not all within [-{MAX_MOVE}, {MAX_MOVE}]"
        )
    angle = math.radians(rotate_degrees)
    motion = np.array(
        [
            [math.cos(angle), math.sin(angle), translate[0]],
            [-math.sin(angle), math.cos(angle), translate[1]],
            [0, 0, 1],
        ]
    )
    return np.asarray(np.linalg.inv(motion), dtype=np.float32)
