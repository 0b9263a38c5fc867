"""ONNX Runtime on the CPU: runs anywhere, and the template for the backends to come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..artifact import Artifact
from ..errors import BackendUnavailableError
from ..lanes import ImageRunner, Lanes
from ..machine import usable_cores
from ..session import Batch, Session, SessionOptions
from .backend import Probe
from .runtime_import import import_runtime

__all__ = ["OnnxRuntimeBackend", "OnnxRuntimeSession", "load_onnxruntime"]

CPU_PROVIDER = "CPUExecutionProvider"


def load_onnxruntime() -> Any:
    """Import onnxruntime.

    Raises:
        BackendUnavailableError: it is not installed, or does not load.
    """
    return import_runtime("onnxruntime", "cpu")


def inference_session(model: bytes, options: SessionOptions) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU from a model in memory, so what was hashed is what runs."""
    ort = load_onnxruntime()
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.log_severity_level = 3  # its warnings are about our graphs' build, which the exporter has checked
    if options.threads is not None:
        settings.intra_op_num_threads = options.threads
    if not options.spinning:
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, settings, providers=[CPU_PROVIDER])


class OnnxRuntimeBackend:
    """The `onnxruntime` backend."""

    name = "onnxruntime"
    rank = 10
    automatic = True

    def probe(self) -> Probe:
        """Whether onnxruntime imports, and its version."""
        try:
            return Probe(True, f"onnxruntime {load_onnxruntime().__version__} on the CPU")
        except BackendUnavailableError as error:
            return Probe(False, error.message)

    def session(self, artifact: Artifact, options: SessionOptions) -> Session:
        """A CPU session.

        Raises:
            BackendUnavailableError: onnxruntime is missing, or another device than the CPU is asked for.
            ArtifactError: the artifact has no variant for ONNX Runtime.
        """
        load_onnxruntime()
        if options.device not in {"auto", "cpu"}:
            raise BackendUnavailableError(f"the onnxruntime backend runs on device cpu, not on {options.device!r}")
        # Any graph of ours runs on both CPU runtimes; the order says which one this was made for.
        variant = artifact.variant((self.name, "openvino"), **options.variant_choice)
        return OnnxRuntimeSession(artifact, variant, options)


class OnnxRuntimeSession(Session):
    """One graph on the CPU.

    Without `lanes` a batch is one run of its size, which ONNX Runtime takes as it is; with them it is rendered image
    by image, each lane a session of its own with its share of the threads.
    """

    _session: Any = None
    _lanes: Lanes | None = None

    @property
    def identity(self) -> str:
        """Runtime, version and provider."""
        return f"onnxruntime {load_onnxruntime().__version__} {CPU_PROVIDER}"

    @property
    def preferred_batch_size(self) -> int:
        """One for each lane: on a CPU a larger run saves little time per image and costs memory in full."""
        if self.options.deterministic:
            return self.options.max_batch_size
        return min(self.options.lanes or 1, self.options.max_batch_size)

    def _open(self) -> None:
        model, lanes = self.artifact.read(self.variant.file), self.options.lanes or 1
        self._session = inference_session(model, self.options)
        if lanes > 1:
            threads = max(1, (self.options.threads or usable_cores()) // lanes)
            narrow = replace(self.options, threads=threads)
            self._lanes = Lanes(
                _runner(self._session), [_runner(inference_session(model, narrow)) for _ in range(lanes)]
            )

    def _run(self, batch: Batch) -> NDArray[np.uint8]:
        if self._lanes is not None:
            manifest = self.artifact.manifest
            return self._lanes.render(batch, (manifest.resolution, manifest.resolution, manifest.channels))
        return cast("NDArray[np.uint8]", self._session.run(None, batch.feeds())[0])

    def _close(self) -> None:
        self._session = None
        if self._lanes is not None:
            self._lanes.close()
            self._lanes = None


def _runner(session: Any) -> ImageRunner:
    def run(batch: Batch, image: NDArray[np.uint8]) -> None:
        image[...] = session.run(None, batch.feeds())[0]

    return run
