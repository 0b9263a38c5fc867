"""ONNX Runtime on the CPU: runs anywhere, and the template for the backends to come."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..artifact import Artifact
from ..errors import BackendUnavailableError
from ..session import Batch, Session, SessionOptions
from .backend import Probe

__all__ = ["OnnxRuntimeBackend", "OnnxRuntimeSession", "load_onnxruntime"]

CPU_PROVIDER = "CPUExecutionProvider"
INSTALL_HINT = "install it with: pip install 'nonesuch[cpu]'"


def load_onnxruntime() -> Any:
    """Import onnxruntime.

    Raises:
        BackendUnavailableError: it is not installed, or does not load.
    """
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        raise BackendUnavailableError(f"onnxruntime is not installed ({error}); {INSTALL_HINT}") from error
    except Exception as error:  # its native part refuses this machine, or a version of something else
        problem = f"{type(error).__name__}: {error}"
        raise BackendUnavailableError(f"onnxruntime is installed but does not load ({problem})") from error


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
        variant = artifact.variant(self.name, noise=options.noise, precision=options.precision)
        return OnnxRuntimeSession(artifact, variant, options)


class OnnxRuntimeSession(Session):
    """One graph on the CPU; ONNX Runtime takes any batch size, so nothing is padded unless it must be deterministic."""

    _session: Any = None

    @property
    def identity(self) -> str:
        """Runtime, version and provider."""
        return f"onnxruntime {load_onnxruntime().__version__} {CPU_PROVIDER}"

    @property
    def preferred_batch_size(self) -> int:
        """One, unless every run is padded: on a CPU a batch saves little time per image and costs memory in full."""
        return self.options.max_batch_size if self.options.deterministic else 1

    def _open(self) -> None:
        self._session = inference_session(self.artifact.read(self.variant.file), self.options)

    def _run(self, batch: Batch) -> NDArray[np.uint8]:
        return cast("NDArray[np.uint8]", self._session.run(None, batch.feeds())[0])

    def _close(self) -> None:
        self._session = None
