"""ONNX Runtime on a GPU or not at all: loads what a provider needs, and opens sessions that never run on the CPU.

Left alone, ONNX Runtime renders on the CPU where a provider does not load, and says so on stderr only. Here a session
runs on the provider that was asked for, or is refused with the reason and what to install.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import BackendUnavailableError, NonesuchError
from ..runtime_import import import_runtime
from .onnxruntime_providers import PLUGIN_EXTRA, PLUGIN_MODULE, PLUGIN_PACKAGE, GpuProvider

_NO_CPU = "session.disable_cpu_ep_fallback"
_TENSORRT_PIN = "tensorrt-cu13>=10.13,<11"
"""The provider of onnxruntime-gpu 1.31 is linked to libnvinfer.so.10; TensorRT 11 has another name and interface."""
_TENSORRT_LIBRARIES = (
    ("nvinfer_10.dll", "nvinfer_plugin_10.dll", "nvonnxparser_10.dll")
    if sys.platform == "win32"
    else ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10")
)


def gpu_session(
    ort: Any, settings: Any, model: bytes, provider: GpuProvider, options: Mapping[str, dict[str, str]]
) -> Any:
    """An `onnxruntime.InferenceSession` on a provider, of which no node runs on the CPU.

    Args:
        ort: the module.
        settings: its SessionOptions, which are changed.
        model: the graph.
        provider: where to run it.
        options: as `provider_options` gives them.

    Raises:
        BackendUnavailableError: the provider does not load, or cannot run the whole graph.
    """
    for told in options.values():
        for key, value in told.items():
            if key.endswith("cache_path"):
                private_folder(Path(value))
    settings.add_session_config_entry(_NO_CPU, "1")
    providers = list(options.items())
    if provider.is_plugin:
        settings.add_provider_for_devices([_plugin_device(ort, provider)], options[provider.name])
        providers = []  # the settings have it; a list would go before them
    else:
        _preload(ort, provider.kind)
    try:
        # Its own way to fall back would print a banner, try the CPU, and hide the first error behind the second.
        session = ort.InferenceSession(model, settings, providers=providers, enable_fallback=0)
    except Exception as error:
        failure = load_failure(ort, provider, error)
        if failure is None:
            raise
        raise failure from error
    session.disable_fallback()
    there = session.get_providers()
    if provider.name not in there:
        raise BackendUnavailableError(
            f"device {provider.device} needs {provider.name}, and onnxruntime {ort.__version__} opened "
            f"{', '.join(there)} instead; see what it printed, or use --device cpu",
        )
    return session


def load_failure(ort: Any, provider: GpuProvider, error: Exception) -> BackendUnavailableError | None:
    """What ONNX Runtime's error means, if it is about a provider that cannot work here; None for any other error."""
    if isinstance(error, NonesuchError):
        return None
    what = f"device {provider.device}: {provider.name} of onnxruntime {ort.__version__}"
    missing = "" if provider.is_plugin else _missing_library(ort, provider.kind)
    # cuDNN is loaded at the first convolution only, so nothing is missing before.
    if not missing and "cudnn" in str(error).lower() and "not found" in str(error).lower():
        missing = str(error)
    if missing:
        tensorrt = any(name in missing for name in ("nvinfer", "nvonnxparser"))
        needs, pin = ("it needs TensorRT 10", f" '{_TENSORRT_PIN}'") if tensorrt else ("it needs CUDA and cuDNN", "")
        return BackendUnavailableError(f"{what} does not load ({missing}); {needs}: pip install 'nonesuch[gpu]'{pin}")
    if "fallback to CPU EP" in str(error):
        problem = f"{what} cannot run the whole graph, and no part of it may run on the CPU instead ({error})"
        return BackendUnavailableError(f"{problem}; choose another variant, or --device cpu")
    return None


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner may read and write; whoever writes an engine there has code run.

    Raises:
        BackendUnavailableError: it cannot be made, or is somebody else's.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)  # it may have been there; only its owner may do this
    except OSError as error:
        raise BackendUnavailableError(
            f"{path} cannot be made a private folder for engines ({error.strerror or type(error).__name__}); point "
            "NONESUCH_HOME at a folder of your own",
        ) from error
    return path


@cache
def _preload(ort: Any, kind: str) -> None:
    """Load what pip installed of CUDA, cuDNN and TensorRT, where the loader of the system would not look."""
    if hasattr(ort, "preload_dlls"):
        with redirect_stdout(sys.stderr):  # it prints what it does not find, and stdout is for our answers
            ort.preload_dlls()
    spec = find_spec("tensorrt_libs") if kind == "tensorrt" else None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for name in _TENSORRT_LIBRARIES:
            with suppress(OSError):  # what is missing is said when the provider does not load
                ctypes.CDLL(str(Path(folder) / name))


def _missing_library(ort: Any, kind: str) -> str:
    """Why a provider's library does not load, as the loader says it; ONNX Runtime writes that to stderr only."""
    name = f"onnxruntime_providers_{kind}.dll" if sys.platform == "win32" else f"libonnxruntime_providers_{kind}.so"
    path = Path(ort.__file__).parent / "capi" / name
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        # A symbol of ONNX Runtime itself is no library that somebody could install.
        return "" if "undefined symbol" in str(error) else str(error)
    return ""


@cache
def _register_plugin(ort: Any, provider_name: str) -> None:
    """Register the plug-in, once a process; its module loads libraries, so it is imported only where there is a GPU."""
    if any(device.ep_name == provider_name for device in ort.get_ep_devices()):
        return  # the program around us has done it
    plugin = import_runtime(PLUGIN_MODULE, PLUGIN_EXTRA)
    try:
        ort.register_execution_provider_library(provider_name, plugin.get_library_path())
    except Exception as error:
        problem = f"{provider_name} of {PLUGIN_PACKAGE} does not load in onnxruntime {ort.__version__} ({error})"
        hint = f"it needs an NVIDIA driver for CUDA 13, and: pip install --upgrade 'nonesuch[{PLUGIN_EXTRA}]'"
        raise BackendUnavailableError(f"{problem}; {hint}") from error


def _plugin_device(ort: Any, provider: GpuProvider) -> Any:
    _register_plugin(ort, provider.name)
    devices = [device for device in ort.get_ep_devices() if device.ep_name == provider.name]
    if provider.ordinal >= len(devices):
        raise BackendUnavailableError(
            f"device {provider.device}: {provider.name} can use {len(devices)} of the GPUs of this machine, counted "
            "from 0; it needs an RTX GPU, of Ampere or later",
        )
    return devices[provider.ordinal]
