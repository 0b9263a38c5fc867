"""What all servers share: one artifact, seed to JPEG, with ONNX Runtime and nothing of the engine.

A server runs in an environment where nonesuch is not installed, so this folder is not a package: its files are
programs, and Python finds their neighbours beside them. The benchmark compares their pictures with the engine's.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

JPEG_QUALITY = 90  # as nonesuch.engine.encoder


@dataclass(frozen=True)
class Settings:
    """What the benchmark tells a server, as JSON in the environment variable NONESUCH_SUBJECT."""

    artifact: str  # folder
    synthesis: str  # the variant's file in it
    z_dim: int
    num_ws: int
    psi: float
    threads: int  # inside one run
    max_batch_size: int
    max_wait_ms: float  # for company, where batches may form
    port: int  # on 127.0.0.1

    @classmethod
    def read(cls) -> Settings:
        """The settings of this process."""
        return cls(**json.loads(os.environ["NONESUCH_SUBJECT"]))


class Renderer:
    """Seeds to pixels."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        folder = Path(settings.artifact)
        # As the engine: a sample is too small for several threads.
        self._mapping = _session(folder / "mapping.onnx", threads=1)
        self._synthesis = _session(folder / settings.synthesis, settings.threads)
        self._w_avg = np.load(folder / "w_avg.npy")

    def images(self, seeds: list[int]) -> NDArray[np.uint8]:
        """Pictures uint8 [N, H, W, C] of N seeds."""
        styles = np.stack([self._styles(seed) for seed in seeds])
        images: NDArray[np.uint8] = self._synthesis.run(None, {"ws": styles})[0]
        return images

    def _styles(self, seed: int) -> NDArray[np.float32]:
        """The truncated styles of a seed, float32 [num_ws, w_dim]."""
        z = np.random.RandomState(seed).randn(1, self._settings.z_dim).astype(np.float32)
        w = self._mapping.run(None, {"z": z})[0]
        w = self._w_avg + np.float32(self._settings.psi) * (w - self._w_avg)
        return np.repeat(w, self._settings.num_ws, axis=0)


def encode(image: NDArray[np.uint8]) -> bytes:
    """An image, uint8 [H, W, C], as JPEG; what is alpha is left out."""
    if image.shape[2] in {2, 4}:
        image = image[..., :-1]
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _session(model: Path, threads: int) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    # A server that waits for its turn must not take cores from the one that is measured.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
