"""Runs `mapping.onnx` on the CPU, one sample at a time.

The mapping network is 2 MMAC, so it never leaves the CPU, and `w` is the same whatever device renders it. Samples are
mapped singly because a Gemm of N rows may sum in another order than a Gemm of one: w must not depend on the batch.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .artifact import MAPPING_FILE, Artifact
from .backends.onnxruntime import inference_session
from .errors import BackendError, InvalidRequestError
from .session import SessionOptions

__all__ = ["Mapper"]


class Mapper:
    """z -> w for one artifact; safe to call from several threads; the graph is loaded at the first call."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._session: Any = None
        self._lock = threading.Lock()

    def __call__(self, z: NDArray[np.float32], class_index: int | None = None) -> NDArray[np.float32]:
        """Map z float32 [N, z_dim] to w float32 [N, w_dim], before truncation.

        Args:
            z: the latents.
            class_index: the class of all of them, for a conditional model; it becomes a one-hot `c [1, c_dim]`.

        Raises:
            InvalidRequestError: z has another shape, or values that are not finite.
            BackendError: the runtime is missing or failed.
        """
        manifest = self._artifact.manifest
        if z.ndim != 2 or z.shape[1] != manifest.z_dim:
            raise InvalidRequestError.of("z", f"shape {z.shape} does not fit [N, {manifest.z_dim}]")
        if not np.isfinite(z).all():
            raise InvalidRequestError.of("z", "has values that are not finite")
        feeds: dict[str, NDArray[np.float32]] = {}
        if manifest.c_dim:
            feeds["c"] = np.zeros((1, manifest.c_dim), dtype=np.float32)
            if class_index is not None:
                feeds["c"][0, class_index] = 1
        session = self._loaded()
        try:
            rows = [session.run(None, {"z": np.ascontiguousarray(row, np.float32), **feeds})[0] for row in z[:, None]]
        except Exception as error:
            raise BackendError(f"{MAPPING_FILE} failed: {error}") from error
        return np.concatenate([np.empty((0, manifest.w_dim), dtype=np.float32), *rows])

    def _loaded(self) -> Any:
        with self._lock:
            if self._session is None:
                model = self._artifact.read(MAPPING_FILE)
                try:
                    # One thread: a sample is too small to share, and idle pools would disturb the synthesis.
                    self._session = inference_session(model, SessionOptions(threads=1, spinning=False))
                except BackendError:
                    raise
                except Exception as error:
                    raise BackendError(f"{MAPPING_FILE} cannot be loaded: {error}") from error
            return self._session
