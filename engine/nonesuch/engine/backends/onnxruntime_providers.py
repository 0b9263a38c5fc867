"""ONNX Runtime's providers for NVIDIA GPUs: which one a device means, whether it is here, and what it is told.

    "tensorrt:1" -> choose_provider -> GpuProvider -> require_provider -> provider_options -> gpu_session

Names of options: the pages "CUDA" and "TensorRT" of execution providers in ONNX Runtime's documentation, and
tensorrt_rtx_provider_options.h in the wheel of the plug-in.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from ..artifact import Artifact
from ..cuda_driver import Gpu, device_ordinal, find_driver, require_gpu
from ..errors import BackendUnavailableError, InvalidRequestError
from ..home import Home
from ..machine import machine_id
from ..manifest import Variant
from ..session import SessionOptions

PLUGIN_PACKAGE = "onnxruntime-ep-nv-tensorrt-rtx-cu13"
PLUGIN_MODULE = "onnxruntime_ep_nv_tensorrt_rtx"
PLUGIN_EXTRA = "onnxruntime-tensorrt-rtx"
_CUDA = "CUDAExecutionProvider"
_NAMES = {"cuda": _CUDA, "tensorrt": "TensorrtExecutionProvider", "tensorrt-rtx": "NvTensorRTRTXExecutionProvider"}


@dataclass(frozen=True)
class GpuProvider:
    """A provider on one GPU: `kind` is the word of the device's name, "cuda", "tensorrt" or "tensorrt-rtx"."""

    kind: str
    ordinal: int

    @property
    def name(self) -> str:
        """As ONNX Runtime calls it."""
        return _NAMES[self.kind]

    @property
    def device(self) -> str:
        """As `SessionOptions.device` calls it."""
        return f"{self.kind}:{self.ordinal}"

    @property
    def is_plugin(self) -> bool:
        """Whether it comes in a wheel of its own, and works with any build of ONNX Runtime."""
        return self.kind == "tensorrt-rtx"


def choose_provider(ort: Any, device: str) -> GpuProvider | None:
    """The provider that a device means, None for the CPU; "auto" is CUDA where this build has it and there is a GPU.

    Raises:
        InvalidRequestError: it is no device of ONNX Runtime.
    """
    if device == "cpu":
        return None
    if device == "auto":
        # The build is asked first, so that nobody starts a driver for a build that could not use it.
        return GpuProvider("cuda", 0) if _CUDA in ort.get_available_providers() and find_driver().usable else None
    try:
        ordinal = device_ordinal(device, tuple(_NAMES))
    except InvalidRequestError as error:
        forms = ", ".join(f"{kind}, {kind}:N" for kind in _NAMES)
        raise InvalidRequestError.of(
            "device", f"{device!r} is no device of onnxruntime; it is auto, cpu, {forms}"
        ) from error
    return GpuProvider(device.partition(":")[0], ordinal)


def require_provider(ort: Any, provider: GpuProvider) -> Gpu:
    """The GPU that a provider would run on, without loading anything of the provider.

    Raises:
        BackendUnavailableError: this build or environment lacks the provider, or there is no such GPU.
    """
    if provider.is_plugin:
        if find_spec(PLUGIN_MODULE) is None:
            raise BackendUnavailableError(
                f"device {provider.device} needs {provider.name}, a plug-in that is not installed; install it with: "
                f"pip install 'nonesuch[{PLUGIN_EXTRA}]'",
            )
        if not hasattr(ort, "get_ep_devices"):
            raise BackendUnavailableError(
                f"onnxruntime {ort.__version__} takes no plug-ins such as {provider.name}; install a newer one with: "
                f"pip install 'nonesuch[{PLUGIN_EXTRA}]'",
            )
    elif provider.name not in (there := ort.get_available_providers()):
        # Both builds own one folder, so whichever is installed over the other must first be gone.
        raise BackendUnavailableError(
            f"device {provider.device} needs {provider.name}, and the CPU build of onnxruntime {ort.__version__} is "
            f"installed (it has {', '.join(there)}); replace it with: "
            "pip uninstall onnxruntime onnxruntime-gpu, then pip install 'nonesuch[gpu]'"
        )
    return require_gpu(provider.ordinal)


def provider_options(
    provider: GpuProvider, artifact: Artifact, variant: Variant, options: SessionOptions, home: Home | None = None
) -> dict[str, dict[str, str]]:
    """The providers of a session by name, the one asked for first, with what each is told. Creates nothing.

    Beside TensorRT there is CUDA for nodes that TensorRT does not take; the CPU is never listed. TensorRT builds one
    engine for all sizes that the session may run, best at the largest. Its cache is of one model, one graph and one
    machine: ONNX Runtime names engines after the names in a graph, which say nothing of its weights.
    """
    # EXHAUSTIVE, the default of the search, times every algorithm for each size of batch.
    cuda = {"device_id": str(provider.ordinal), "cudnn_conv_algo_search": "HEURISTIC"}
    if provider.kind == "cuda":
        return {provider.name: cuda}
    smallest = options.max_batch_size if options.deterministic else 1
    sizes = {"min": smallest, "opt": options.max_batch_size, "max": options.max_batch_size}
    shapes = {f"profile_{bound}_shapes": _shapes(artifact, variant, size) for bound, size in sizes.items()}
    machine = (home or Home.default()).machine_cache(artifact.manifest.model_id, machine_id())
    folder = str(machine / f"onnxruntime-{provider.kind}" / variant.sha256[:16])
    if provider.is_plugin:  # its GPU is chosen by the device that it is added for
        told = {"nv_runtime_cache_path": folder} | {f"nv_{key}": value for key, value in shapes.items()}
        return {provider.name: told}
    told = {
        "device_id": str(provider.ordinal),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": folder,
        **{f"trt_{key}": value for key, value in shapes.items()},
    }
    if variant.precision == "fp16":
        told["trt_fp16_enable"] = "True"
    return {provider.name: told, _CUDA: cuda}


def _shapes(artifact: Artifact, variant: Variant, batch_size: int) -> str:
    inputs = {"ws": (artifact.manifest.num_ws, artifact.manifest.w_dim)}
    shapes = inputs | {graph_input.name: graph_input.shape for graph_input in variant.inputs}
    return ",".join(f"{name}:{'x'.join(map(str, (batch_size, *shape)))}" for name, shape in shapes.items())
