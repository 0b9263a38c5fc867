"""PyTorch as a subject: the reference networks, eager in every form and memory layout, and compiled.

Which eager subject is the best is for the report to say; all are measured. The CUDA subjects (float16, CUDA graphs) are
offered where a GPU is and are untested, as the tests have none.
"""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.artifact import find_artifact
from nonesuch.engine.session import Batch, SessionOptions
from nonesuch.export.reference.rendering import TorchSettings
from nonesuch.export.torch_backend import TorchBackend

from ..measurement import BenchmarkError
from ..subject import Subject

if TYPE_CHECKING:
    from nonesuch.export.torch_backend import TorchSession

__all__ = ["REFERENCE_NAME", "TorchSubject", "cuda_here", "torch_subjects"]

REFERENCE_NAME = "torch eager, reference form, contiguous"
"""The subject whose pictures the others are compared with."""
_COMPILERS = ("g++", "clang++", "c++", "cl")


def cuda_here() -> bool:
    """Whether PyTorch is installed and finds a CUDA device."""
    try:
        torch: Any = import_module("torch")
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def torch_subjects(model: str, *, device: str = "cpu", max_batch_size: int = 8) -> list[TorchSubject]:
    """The reference network in every way that the device knows; the reference itself is the first."""
    settings = [
        TorchSettings("grouped", "contiguous"),
        TorchSettings("grouped", "channels_last"),
        TorchSettings("inference", "contiguous"),
        TorchSettings("inference", "channels_last"),
    ]
    # Inductor chooses layouts of its own, and fuses the form away where it can.
    settings.append(TorchSettings(form="inference", memory_format="channels_last", compile=True))
    if device.startswith("cuda"):
        half = [
            TorchSettings("inference", "channels_last", half=True, compile=compiled, cuda_graphs=captured)
            for compiled, captured in product((False, True), repeat=2)
        ]
        settings += [TorchSettings("inference", "channels_last", cuda_graphs=True), *half]
    options = SessionOptions(device=device, max_batch_size=max_batch_size)
    return [TorchSubject(model, choice, options) for choice in settings]


class TorchSubject(Subject):
    """The reference network with some settings, on some device."""

    def __init__(
        self, model: str, settings: TorchSettings | None = None, options: SessionOptions | None = None
    ) -> None:
        self._settings, self._options = settings or TorchSettings(), options or SessionOptions()
        self._model = model
        self._session: TorchSession | None = None
        where = "" if self._options.device == "cpu" else f", {self._options.device}"
        self.name = f"torch {self._settings.label}{where}"

    @property
    def detail(self) -> str:
        """PyTorch's version, the device and the settings."""
        return self._open_session.identity

    @property
    def reduced_precision(self) -> bool:
        """Whether it runs in float16, or on CUDA, where PyTorch convolves in TF32 unless told otherwise."""
        return self._settings.half or self._options.device != "cpu"

    @property
    def _open_session(self) -> TorchSession:
        if self._session is None:
            raise BenchmarkError(f"{self.name} is not open; call open first")
        return self._session

    def supports(self, batch_size: int) -> bool:
        """Up to the options' maximum."""
        return 1 <= batch_size <= self._options.max_batch_size

    def open(self) -> None:
        """Build the network; torch.compile does its work at the first run of each batch size.

        Raises:
            BenchmarkError: torch.compile finds no C++ compiler.
            BackendUnavailableError: torch, the device or the converted weights are missing.
        """
        compilers = [os.environ.get("CXX", ""), *_COMPILERS]
        if self._settings.compile and not any(map(shutil.which, filter(None, compilers))):
            raise BenchmarkError("torch.compile needs a C++ compiler and found none; install g++ or set CXX")
        session = TorchBackend(self._settings).session(find_artifact(self._model), self._options)
        session.open()
        self._session = session

    def run(self, batch: Batch) -> NDArray[np.uint8]:
        """One batch through the session; on CUDA `device_ms` is the time between two events around the network."""
        session = self._open_session
        images: NDArray[np.uint8] = session.submit(batch).result().images
        self.device_ms = session.device_ms
        return images

    def close(self) -> None:
        """Close the session."""
        session, self._session = self._session, None
        if session is not None:
            session.close()
