"""The default model as its author published it: the OpenVINO network in the wheel, in OpenVINO.

The wheel is never imported: its `.xml` and `.bin` are taken out of the zip and given to OpenVINO. The network puts out
float32 [1, 3, H, W]; the conversion to uint8 [1, H, W, 3] that every subject has in its time is appended to the graph,
because in numpy it would cost a tenth of the network's time and be held against it.
"""

from __future__ import annotations

import zipfile
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.artifact import find_artifact
from nonesuch.engine.backends.openvino import load_openvino
from nonesuch.engine.home import Home
from nonesuch.engine.session import Batch
from nonesuch.export.catalogue import find_entry

from ..result import BenchmarkError
from .subject import Subject

MODEL = "faces"
_NETWORK = "random_face/data/SynthesisNetwork"


class WheelSubject(Subject):
    """`SynthesisNetwork` of the wheel, compiled for low latency, at float32; once for every batch size."""

    name = "wheel network in OpenVINO"

    def __init__(self, model: str) -> None:
        self._model = model
        self._model_here: Any = None
        self._compiled: dict[int, Any] = {}

    @property
    def detail(self) -> str:
        """OpenVINO's version and the settings."""
        return f"openvino {metadata.version('openvino')} CPU, PERFORMANCE_HINT LATENCY, INFERENCE_PRECISION_HINT f32"

    def open(self) -> None:
        """Take the network out of the wheel and compile it.

        Raises BenchmarkError where the model is not the default one, or its wheel is not in the user's home;
        BackendUnavailableError where openvino is not installed.
        """
        manifest = find_artifact(self._model).manifest
        entry = find_entry(MODEL)
        if manifest.source.sha256 != entry.file.sha256:
            raise BenchmarkError(f"{manifest.name} did not come from the wheel of {MODEL!r}; there is nothing to run")
        wheel = Home.default().downloads / entry.file.filename
        if not wheel.is_file():
            raise BenchmarkError(f"{wheel} is not here; get it with: nonesuch models pull {MODEL}")
        ov = load_openvino()
        with TemporaryDirectory() as folder:
            with zipfile.ZipFile(wheel) as archive:
                for suffix in ("xml", "bin"):
                    archive.extract(f"{_NETWORK}.{suffix}", folder)
            self._model_here = _showing_uint8(ov, ov.Core().read_model(Path(folder, f"{_NETWORK}.xml")))
        self._compile(1)

    def run(self, batch: Batch) -> NDArray[np.uint8]:
        """The pictures of the batch's w, which must be the same for every layer, as it is without mixing.

        Raises BenchmarkError where it is not, or the subject is not open.
        """
        if self._model_here is None:
            raise BenchmarkError(f"{self.name} is not open; call open first")
        w = np.ascontiguousarray(batch.ws[:, 0])
        if not (batch.ws == w[:, None]).all():
            raise BenchmarkError(f"{self.name} takes one w for all layers; ask without mixing and cutoff")
        return np.asarray(self._compile(len(w))(w)[0], dtype=np.uint8)

    def close(self) -> None:
        """Drop the compiled networks."""
        self._model_here = None
        self._compiled.clear()

    def _compile(self, size: int) -> Any:
        """The network for one batch size: the file's is for one image, and OpenVINO can reshape it."""
        if size not in self._compiled:
            ov = load_openvino()
            model = self._model_here.clone()
            model.reshape([size, *list(model.inputs[0].partial_shape)[1:]])
            settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
            self._compiled[size] = ov.Core().compile_model(model, "CPU", settings)
        return self._compiled[size]


def _showing_uint8(ov: Any, model: Any) -> Any:
    """The network with trunc(clip(127.5 x + 128, 0, 255)) as uint8 [N, H, W, C] behind its picture."""
    from openvino import opset13 as ops

    picture = model.get_results()[0].input_value(0)
    scaled = ops.add(ops.multiply(picture, np.float32(127.5)), np.float32(128))
    levels = ops.convert(ops.clamp(scaled, 0.0, 255.0), "u8")
    shown = ops.transpose(levels, np.array([0, 2, 3, 1], dtype=np.int64))
    return ov.Model([shown], model.get_parameters(), "SynthesisNetwork")
