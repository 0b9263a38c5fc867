"""The centre of truncation, taken from the checkpoint or measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.backends.onnxruntime import inference_session
from nonesuch.engine.latents import z_from_seeds
from nonesuch.engine.session import SessionOptions

from .checkpoint import Checkpoint

W_AVG_SAMPLES = 10_000
_CHUNK = 500

Progress = Callable[[Iterable[int], str], Iterable[int]]


@dataclass(frozen=True)
class MeanW:
    """w_avg, float32 [w_dim], and its origin in words."""

    value: NDArray[np.float32]
    origin: str


def mean_w(checkpoint: Checkpoint, mapping: bytes, progress: Progress) -> MeanW:
    """Return the checkpoint's w_avg, or else the mean of W_AVG_SAMPLES mapped seeds, summed in float64.

    For a conditional network the samples cycle through its classes.

    Raises:
        CheckpointError: the checkpoint's w_avg does not have the shape [w_dim].
    """
    config = checkpoint.config
    w_dim, c_dim = int(config["w_dim"]), int(config.get("c_dim", 0))
    if "w_avg" in checkpoint.tensors:
        return MeanW(np.asarray(checkpoint.tensor("w_avg", w_dim), dtype=np.float32), "from the checkpoint")
    session = inference_session(mapping, SessionOptions())
    total = np.zeros(w_dim, dtype=np.float64)
    for start in progress(range(0, W_AVG_SAMPLES, _CHUNK), "w_avg"):
        seeds = range(start, start + _CHUNK)
        feeds = {"z": z_from_seeds(seeds, int(config["z_dim"]))}
        if c_dim:
            feeds["c"] = np.eye(c_dim, dtype=np.float32)[np.arange(start, start + _CHUNK) % c_dim]
        total += session.run(None, feeds)[0].astype(np.float64).sum(axis=0)
    mean = np.asarray(total / W_AVG_SAMPLES, dtype=np.float32)
    return MeanW(mean, f"mean of {W_AVG_SAMPLES} mapped seeds, 0 to {W_AVG_SAMPLES - 1}")
