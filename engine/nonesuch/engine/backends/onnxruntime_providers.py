"""ONNX Runtime's providers for NVIDIA GPUs: maps a device to a provider, checks that it is usable, sets its options.

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
    """A provider on one GPU: `kind` is the first part of the device name, "cuda", "tensorrt" or "tensorrt-rtx"."""

    kind: str
    ordinal: int

    @property
    def name(self) -> str:
        """The name of the provider in ONNX Runtime."""
        return _NAMES[self.kind]

    @property
    def device(self) -> str:
        """The device name, as in `SessionOptions.device`."""
        return f"{self.kind}:{self.ordinal}"

    @property
    def is_plugin(self) -> bool:
        """Whether it is a separate wheel that works with any build of ONNX Runtime."""
        return self.kind == "tensorrt-rtx"


def choose_provider(ort: Any, device: str) -> GpuProvider | None:
    """The provider of a device, None for the CPU; "auto" is CUDA if this build has it and a GPU is present.

    Raises:
        InvalidRequestError: the device is not a device of ONNX Runtime.
    """
    if device == "cpu":
        return None
    if device == "auto":
        # Check the build first, so that the driver is not started for a build that cannot use it.
        return GpuProvider("cuda", 0) if _CUDA in ort.get_available_providers() and find_driver().usable else None
    try:
        ordinal = device_ordinal(device, tuple(_NAMES))
    except InvalidRequestError as error:
        forms = ", ".join(f"{kind}, {kind}:N" for kind in _NAMES)
        raise InvalidRequestError.of(
            "device", f"{device!r} is not a device of onnxruntime; use auto, cpu, {forms}"
        ) from error
    return GpuProvider(device.partition(":")[0], ordinal)


def require_provider(ort: Any, provider: GpuProvider) -> Gpu:
    """The GPU that a provider would run on. Does not load the provider.

    Raises:
        BackendUnavailableError: the provider or the GPU is missing.
    """
    if provider.is_plugin:
        if find_spec(PLUGIN_MODULE) is None:
            raise BackendUnavailableError(
                f"device {provider.device} needs {provider.name}, a plug-in that is not installed; install it with: "
                f"pip install 'nonesuch[{PLUGIN_EXTRA}]'",
            )
        if not hasattr(ort, "get_ep_devices"):
            raise BackendUnavailableError(
                f"onnxruntime {ort.__version__} does not support plug-ins such as {provider.name}; install a newer one "
                f"with: pip install 'nonesuch[{PLUGIN_EXTRA}]'",
            )
    elif provider.name not in (available := ort.get_available_providers()):
        # Both builds install into one folder, so uninstall both first.
        raise BackendUnavailableError(
            f"device {provider.device} needs {provider.name}, and the CPU build of onnxruntime {ort.__version__} is "
            f"installed (it has {', '.join(available)}); replace it with: "
            "pip uninstall onnxruntime onnxruntime-gpu, then pip install 'nonesuch[gpu]'"
        )
    return require_gpu(provider.ordinal)


def provider_options(
    provider: GpuProvider, artifact: Artifact, variant: Variant, options: SessionOptions, home: Home | None = None
) -> dict[str, dict[str, str]]:
    """The providers of a session and their options, by name, the requested provider first. Creates nothing.

    CUDA follows TensorRT for the nodes that TensorRT does not support; the CPU is never listed. TensorRT builds one
    engine for all sizes of the session, optimized for the largest. Its cache is for one model, graph and machine,
    because ONNX Runtime names engines after names in the graph, which do not depend on the weights.
    """
    # The default, EXHAUSTIVE, times every algorithm for each batch size.
    cuda = {"device_id": str(provider.ordinal), "cudnn_conv_algo_search": "HEURISTIC"}
    if provider.kind == "cuda":
        return {provider.name: cuda}
    smallest = options.max_batch_size if options.deterministic else 1
    sizes = {"min": smallest, "opt": options.max_batch_size, "max": options.max_batch_size}
    shapes = {f"profile_{bound}_shapes": _shapes(artifact, variant, size) for bound, size in sizes.items()}
    machine = (home or Home.default()).machine_cache(artifact.manifest.model_id, machine_id())
    folder = str(machine / f"onnxruntime-{provider.kind}" / variant.sha256[:16])
    if provider.is_plugin:  # the device that it is added for chooses the GPU
        return {provider.name: {"nv_runtime_cache_path": folder} | {f"nv_{key}": v for key, v in shapes.items()}}
    tensorrt = {
        "device_id": str(provider.ordinal),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": folder,
        **{f"trt_{key}": value for key, value in shapes.items()},
    }
    if variant.precision == "fp16":
        tensorrt["trt_fp16_enable"] = "True"
    return {provider.name: tensorrt, _CUDA: cuda}


def _shapes(artifact: Artifact, variant: Variant, batch_size: int) -> str:
    inputs = {"ws": (artifact.manifest.num_ws, artifact.manifest.w_dim)}
    shapes = inputs | {graph_input.name: graph_input.shape for graph_input in variant.inputs}
    return ",".join(f"{name}:{'x'.join(map(str, (batch_size, *shape)))}" for name, shape in shapes.items())
