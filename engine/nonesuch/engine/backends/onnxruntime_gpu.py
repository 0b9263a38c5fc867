"""Opens sessions of ONNX Runtime that run on a GPU only, and loads the libraries that a provider needs.

By default ONNX Runtime falls back to the CPU if a provider does not load, and only reports it on stderr. Here a session
runs on the requested provider, or raises an error with the reason and what to install.
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
    """An `onnxruntime.InferenceSession` on a provider, without any node on the CPU.

    Args:
        ort: the module onnxruntime.
        settings: its SessionOptions; modified.
        model: the ONNX file.
        provider: the provider to run it on.
        options: the result of `provider_options`.

    Raises:
        BackendUnavailableError: the provider does not load, or cannot run the whole graph.
    """
    for values in options.values():
        for key, value in values.items():
            if key.endswith("cache_path"):
                private_folder(Path(value))
    settings.add_session_config_entry(_NO_CPU, "1")
    providers = list(options.items())
    if provider.is_plugin:
        settings.add_provider_for_devices([_plugin_device(ort, provider)], options[provider.name])
        providers = []  # the settings have it; a list would override them
    else:
        _preload(ort, provider.kind)
    try:
        # Its own fallback would print a banner, try the CPU, and hide the first error behind a second one.
        session = ort.InferenceSession(model, settings, providers=providers, enable_fallback=0)
    except Exception as error:
        failure = load_failure(ort, provider, error)
        if failure is None:
            raise
        raise failure from error
    session.disable_fallback()
    opened = session.get_providers()
    if provider.name not in opened:
        raise BackendUnavailableError(
            f"device {provider.device} needs {provider.name}, and onnxruntime {ort.__version__} opened "
            f"{', '.join(opened)} instead; see its output, or use --device cpu",
        )
    return session


def load_failure(ort: Any, provider: GpuProvider, error: Exception) -> BackendUnavailableError | None:
    """The meaning of an ONNX Runtime error about a provider that does not work here; None for any other error."""
    if isinstance(error, NonesuchError):
        return None
    what = f"device {provider.device}: {provider.name} of onnxruntime {ort.__version__}"
    missing = "" if provider.is_plugin else _missing_library(ort, provider.kind)
    # The first convolution loads cuDNN, so it is not reported missing before.
    if not missing and "cudnn" in str(error).lower() and "not found" in str(error).lower():
        missing = str(error)
    if missing:
        tensorrt = any(name in missing for name in ("nvinfer", "nvonnxparser"))
        needs, pin = ("it needs TensorRT 10", f" '{_TENSORRT_PIN}'") if tensorrt else ("it needs CUDA and cuDNN", "")
        return BackendUnavailableError(f"{what} does not load ({missing}); {needs}: pip install 'nonesuch[gpu]'{pin}")
    if "fallback to CPU EP" in str(error):
        problem = f"{what} cannot run the whole graph, and no part of it may run on the CPU ({error})"
        return BackendUnavailableError(f"{problem}; choose another variant, or --device cpu")
    return None


def private_folder(path: Path) -> Path:
    """Create a folder that only its owner can read and write, because the engines in it are executed.

    Raises:
        BackendUnavailableError: the folder cannot be created, or belongs to another user.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)  # it may have existed; this fails unless we own it
    except OSError as error:
        raise BackendUnavailableError(
            f"{path} cannot be made a private folder for engines ({error.strerror or type(error).__name__}); set "
            "NONESUCH_HOME to a folder of your own",
        ) from error
    return path


@cache
def _preload(ort: Any, kind: str) -> None:
    """Load the CUDA, cuDNN and TensorRT libraries that pip installed outside the search path of the system's loader."""
    if hasattr(ort, "preload_dlls"):
        with redirect_stdout(sys.stderr):  # it prints missing libraries, and stdout is for our output
            ort.preload_dlls()
    spec = find_spec("tensorrt_libs") if kind == "tensorrt" else None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for name in _TENSORRT_LIBRARIES:
            with suppress(OSError):  # a missing library is reported when the provider does not load
                ctypes.CDLL(str(Path(folder) / name))


def _missing_library(ort: Any, kind: str) -> str:
    """The loader's error for a provider's library, which ONNX Runtime only writes to stderr; empty if it loads."""
    name = f"onnxruntime_providers_{kind}.dll" if sys.platform == "win32" else f"libonnxruntime_providers_{kind}.so"
    path = Path(ort.__file__).parent / "capi" / name
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        # A missing symbol belongs to ONNX Runtime itself; installing a library does not help.
        return "" if "undefined symbol" in str(error) else str(error)
    return ""


@cache
def _register_plugin(ort: Any, provider_name: str) -> None:
    """Register the plug-in, once per process. Its module loads libraries, so call this only if a GPU is present."""
    if any(device.ep_name == provider_name for device in ort.get_ep_devices()):
        return  # the host program registered it
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
            f"device {provider.device}: {provider.name} can use {len(devices)} GPUs of this machine, numbered from 0; "
            "it needs an RTX GPU of Ampere or later",
        )
    return devices[provider.ordinal]
