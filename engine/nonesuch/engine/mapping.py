"""Runs `mapping.onnx` on the CPU, one sample at a time.

The mapping network is 2 MMAC, so it always runs on the CPU, and `w` does not depend on the device that renders it.
A Gemm of N rows may sum in another order than a Gemm of one row, so mapping each sample alone keeps w independent of
the batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from .artifact import MAPPING_FILE, Artifact
from .errors import BackendError, InvalidRequestError

RunMapping = Callable[[Mapping[str, NDArray[np.float32]]], NDArray[np.float32]]
"""Runs the mapping graph on its inputs by name, float32 [1, ...], and returns w float32 [1, w_dim]."""

LoadMapping = Callable[[bytes], RunMapping]
"""Loads the mapping graph, the bytes of an ONNX file, into a runtime. Raises BackendError on failure."""


class Mapper:
    """Maps z to w for one artifact. Thread-safe; the first call loads the graph."""

    def __init__(self, artifact: Artifact, load: LoadMapping) -> None:
        self._artifact = artifact
        self._load = load
        self._run: RunMapping | None = None
        self._lock = threading.Lock()

    def __call__(self, z: NDArray[np.float32], class_index: int | None = None) -> NDArray[np.float32]:
        """Map z float32 [N, z_dim] to w float32 [N, w_dim], before truncation.

        Args:
            z: the latents.
            class_index: the class of all samples of a conditional model; it becomes a one-hot `c [1, c_dim]`.

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
        run = self._loaded()
        try:
            rows = [run({"z": np.ascontiguousarray(row, np.float32), **feeds}) for row in z[:, None]]
        except Exception as error:
            raise BackendError(f"{MAPPING_FILE} failed: {error}") from error
        return np.concatenate([np.empty((0, manifest.w_dim), dtype=np.float32), *rows])

    def _loaded(self) -> RunMapping:
        with self._lock:
            if self._run is None:
                model = self._artifact.read(MAPPING_FILE)
                try:
                    self._run = self._load(model)
                except BackendError:
                    raise
                except Exception as error:
                    raise BackendError(f"{MAPPING_FILE} cannot be loaded: {error}") from error
            return self._run
