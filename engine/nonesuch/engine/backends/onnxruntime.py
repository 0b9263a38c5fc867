"""ONNX Runtime on any CPU, and on the NVIDIA GPUs that its providers support."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..artifact import Artifact
from ..cuda_driver import Gpu, find_driver
from ..errors import BackendUnavailableError
from ..lanes import ImageRunner, Lanes
from ..machine import usable_cores
from ..manifest import Variant
from ..mapping import RunMapping
from ..runtime_import import import_runtime
from ..session import Batch, Session, SessionOptions
from ..version import package_version
from .onnxruntime_gpu import gpu_session, load_failure
from .onnxruntime_providers import PLUGIN_PACKAGE, GpuProvider, choose_provider, provider_options, require_provider
from .registry import Probe

CPU_PROVIDER = "CPUExecutionProvider"


def load_onnxruntime(extra: str = "cpu") -> Any:
    """Import onnxruntime; `extra` is the extra that errors name.

    Raises:
        BackendUnavailableError: onnxruntime is not installed, or does not load.
    """
    return import_runtime("onnxruntime", extra)


def session_settings(ort: Any, options: SessionOptions) -> Any:
    """Convert our options to ONNX Runtime's SessionOptions, for any provider."""
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.log_severity_level = 3  # its warnings are about how the graph is built, which the exporter has checked
    if options.threads is not None:
        settings.intra_op_num_threads = options.threads
    if not options.spinning:
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return settings


def inference_session(model: bytes, options: SessionOptions) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU, from the model's bytes whose hash was checked."""
    ort = load_onnxruntime()
    return ort.InferenceSession(model, session_settings(ort, options), providers=[CPU_PROVIDER])


def load_mapping(model: bytes) -> RunMapping:
    """Load a mapping graph; see `LoadMapping`.

    Raises:
        BackendUnavailableError: onnxruntime is not installed, or does not load.
    """
    # One thread: a sample is too small to split, and idle threads would slow down the synthesis.
    session = inference_session(model, SessionOptions(threads=1, spinning=False))

    def run(feeds: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        return cast("NDArray[np.float32]", session.run(None, dict(feeds))[0])

    return run


class OnnxRuntimeBackend:
    """The `onnxruntime` backend."""

    name = "onnxruntime"
    automatic = True

    @property
    def rank(self) -> int:
        """Lower than other runtimes on a CPU, higher on a GPU."""
        try:
            return 10 if choose_provider(load_onnxruntime(), "auto") is None else 20
        except BackendUnavailableError:
            return 10

    def probe(self) -> Probe:
        """Whether onnxruntime imports, its version, and the device that "auto" means."""
        try:
            ort = load_onnxruntime()
        except BackendUnavailableError as error:
            return Probe(False, error.message)
        provider = choose_provider(ort, "auto")
        if provider is None:
            return Probe(True, f"onnxruntime {ort.__version__} on the CPU")
        gpu = find_driver().gpus[provider.ordinal]
        return Probe(True, f"onnxruntime {ort.__version__} with {provider.name} on {gpu.name}")

    def session(self, artifact: Artifact, options: SessionOptions) -> Session:
        """A session on the CPU, or on the GPU and provider that the device names.

        Raises:
            InvalidRequestError: the device is not a device of ONNX Runtime.
            BackendUnavailableError: onnxruntime, its provider or the GPU is missing, or lanes are set for a GPU.
            ArtifactError: the artifact has no variant for ONNX Runtime.
        """
        ort = load_onnxruntime("cpu" if options.device in {"auto", "cpu"} else "gpu")
        provider = choose_provider(ort, options.device)
        gpu = None
        if provider is not None:
            if (options.lanes or 1) > 1:  # one lane is the default
                raise BackendUnavailableError(
                    f"lanes are for CPUs, and device {options.device} is {provider.name}; omit lanes, or use "
                    "device cpu",
                )
            gpu = require_provider(ort, provider)
        # Every graph runs on both CPU runtimes; prefer the one that was made for this runtime.
        variant = artifact.variant((self.name, "openvino"), **options.variant_choice)
        if provider is None or gpu is None:
            return OnnxRuntimeSession(artifact, variant, options)
        return OnnxRuntimeGpuSession(artifact, variant, options, provider, gpu)


class OnnxRuntimeSession(Session):
    """One graph on the CPU.

    Without `lanes` a batch is one run. With lanes it is rendered image by image; each lane is its own ONNX Runtime
    session with a share of the threads.
    """

    _session: Any = None
    _lanes: Lanes | None = None

    @property
    def identity(self) -> str:
        """Runtime, version and provider."""
        return f"onnxruntime {load_onnxruntime().__version__} {CPU_PROVIDER}"

    @property
    def preferred_batch_size(self) -> int:
        """One per lane: on a CPU a larger run saves little time per image, but needs more memory."""
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


class OnnxRuntimeGpuSession(Session):
    """One graph on a GPU; a batch is one run. Never runs on the CPU: see `gpu_session`."""

    def __init__(
        self, artifact: Artifact, variant: Variant, options: SessionOptions, provider: GpuProvider, gpu: Gpu
    ) -> None:
        super().__init__(artifact, variant, options)
        self._provider = provider
        self._gpu = gpu
        self._session: Any = None

    @property
    def identity(self) -> str:
        """Runtime, version, provider and GPU, whose kernels round differently."""
        plugin = f" {package_version(PLUGIN_PACKAGE)}" if self._provider.is_plugin else ""
        return f"onnxruntime {load_onnxruntime().__version__} {self._provider.name}{plugin} on {self._gpu.name}"

    def _open(self) -> None:
        ort, model = load_onnxruntime("gpu"), self.artifact.read(self.variant.file)
        options = provider_options(self._provider, self.artifact, self.variant, self.options)
        self._session = gpu_session(ort, session_settings(ort, self.options), model, self._provider, options)
        # The first run loads cuDNN: run now, so that a missing library is reported before the first image.
        manifest, size = self.artifact.manifest, self.batch_sizes[0]
        ws = np.zeros((size, manifest.num_ws, manifest.w_dim), np.float32)
        extra = {one.name: np.zeros((size, *one.shape), np.float32) for one in self.variant.inputs}
        try:
            self._run(Batch(ws, extra))
        except Exception as error:
            self._session = None
            failure = load_failure(ort, self._provider, error)
            if failure is None:
                raise
            raise failure from error

    def _run(self, batch: Batch) -> NDArray[np.uint8]:
        return cast("NDArray[np.uint8]", self._session.run(None, batch.feeds())[0])

    def _close(self) -> None:
        self._session = None


def _runner(session: Any) -> ImageRunner:
    def run(batch: Batch, image: NDArray[np.uint8]) -> None:
        image[...] = session.run(None, batch.feeds())[0]

    return run
