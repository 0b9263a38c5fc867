"""PyTorch as a subject: the reference networks, eager in every form and memory layout, and compiled.

Which eager subject is the best is for the report to say; all are measured. The CUDA subjects (float16, CUDA graphs) are
offered where a GPU is and are untested, as the tests have none.
"""

from __future__ import annotations

import os
import shutil
from itertools import product

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.artifact import find_artifact
from nonesuch.engine.session import Batch, SessionOptions
from nonesuch.export.reference.rendering import TorchSettings
from nonesuch.export.torch_backend import TorchBackend, TorchSession

from ..result import BenchmarkError
from .subject import SessionSubject

BACKEND = "torch"
REFERENCE_NAME = "torch eager, reference form, contiguous"  # the subject whose pictures the others are compared with
_COMPILERS = ("g++", "clang++", "c++", "cl")


def torch_subjects(model: str, *, device: str = "cpu", max_batch_size: int = 8) -> list[TorchSubject]:
    """The reference network in every way that the device knows; the reference itself is the first."""
    settings = [
        *(TorchSettings("grouped"), TorchSettings("grouped", "channels_last")),
        *(TorchSettings("inference"), TorchSettings("inference", "channels_last")),
        # Inductor chooses layouts of its own, and fuses the form away where it can.
        TorchSettings("inference", "channels_last", compile=True),
    ]
    if device.startswith("cuda"):
        settings.append(TorchSettings("inference", "channels_last", cuda_graphs=True))
        for compiled, captured in product((False, True), repeat=2):
            half = TorchSettings("inference", "channels_last", half=True, compile=compiled, cuda_graphs=captured)
            settings.append(half)
    options = SessionOptions(device=device, max_batch_size=max_batch_size)
    return [TorchSubject(model, choice, options) for choice in settings]


class TorchSubject(SessionSubject):
    """The reference network with some settings, on some device."""

    def __init__(
        self, model: str, settings: TorchSettings | None = None, options: SessionOptions | None = None
    ) -> None:
        self._model, self._settings = model, settings or TorchSettings()
        options = options or SessionOptions()
        where = "" if options.device == "cpu" else f", {options.device}"
        super().__init__(f"torch {self._settings.label}{where}", options)

    @property
    def detail(self) -> str:
        """PyTorch's version, the device and the settings."""
        return self.session.identity

    @property
    def reduced_precision(self) -> bool:
        """Whether it runs in float16, or on CUDA, where PyTorch convolves in TF32 unless told otherwise."""
        return self._settings.half or self.options.device != "cpu"

    def open(self) -> None:
        """Build the network; torch.compile does its work at the first run of each batch size.

        Raises BenchmarkError where torch.compile finds no C++ compiler; BackendUnavailableError where torch, the device
        or the converted weights are missing.
        """
        compilers = [os.environ.get("CXX", ""), *_COMPILERS]
        if self._settings.compile and not any(map(shutil.which, filter(None, compilers))):
            raise BenchmarkError("torch.compile needs a C++ compiler and found none; install g++ or set CXX")
        session = TorchBackend(self._settings).session(find_artifact(self._model), self.options)
        session.open()
        self._session = session

    def run(self, batch: Batch) -> NDArray[np.uint8]:
        """One batch through the session; on CUDA `device_ms` is the time between two events around the network."""
        images = super().run(batch)
        assert isinstance(self.session, TorchSession)  # noqa: S101 - `open` made it
        self.device_ms = self.session.device_ms
        return images
