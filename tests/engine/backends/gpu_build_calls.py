"""Reports the behaviour of the GPU build of ONNX Runtime without a driver; run by test_onnxruntime_providers.py.

python gpu_build_calls.py <artifact> -> one line of JSON
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.onnxruntime import OnnxRuntimeBackend, session_settings
from nonesuch.engine.backends.onnxruntime_gpu import gpu_session
from nonesuch.engine.backends.onnxruntime_providers import GpuProvider, provider_options
from nonesuch.engine.errors import NonesuchError
from nonesuch.engine.session import Batch, SessionOptions

KINDS = ("cuda", "tensorrt", "tensorrt-rtx")


def outcome(call: Callable[[], object]) -> str:
    try:
        return f"no error: {call()}"
    except NonesuchError as error:
        return f"{type(error).__name__}: {error.message} <- {error.__cause__}"
    except Exception as error:
        return f"{type(error).__name__} of onnxruntime: {error}"


def main(folder: str) -> None:
    warnings.simplefilter("error")
    artifact, options = Artifact.open(Path(folder)), SessionOptions(max_batch_size=4)
    variant = artifact.variant("onnxruntime")
    model = artifact.read(variant.file)

    def without_the_driver_check(kind: str) -> object:
        provider = GpuProvider(kind, 0)
        chosen = provider_options(provider, artifact, variant, options)
        return gpu_session(ort, session_settings(ort, options), model, provider, chosen).get_providers()

    def plain(*, strict: bool) -> object:
        settings = session_settings(ort, options)
        if strict:
            settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        return ort.InferenceSession(model, settings, providers=["CUDAExecutionProvider"]).get_providers()

    with OnnxRuntimeBackend().session(artifact, SessionOptions(device="auto", max_batch_size=4)) as session:
        ws = np.ones((2, artifact.manifest.num_ws, artifact.manifest.w_dim), np.float32)
        found = {
            "available": ort.get_available_providers(),
            "probe": OnnxRuntimeBackend().probe().detail,
            "auto": session.identity,
            "auto_images": session.submit(Batch(ws)).result().images.shape,
        }
    found["refused"] = {
        kind: outcome(lambda kind=kind: OnnxRuntimeBackend().session(artifact, SessionOptions(device=kind)))  # type: ignore[misc]  # a lambda's default
        for kind in KINDS
    }
    found["opened"] = {kind: outcome(lambda kind=kind: without_the_driver_check(kind)) for kind in KINDS}  # type: ignore[misc]  # likewise
    found["plain"] = outcome(lambda: plain(strict=False))
    found["plain_strict"] = outcome(lambda: plain(strict=True))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
