"""OpenVINO on the CPU, usually the fastest CPU runtime for our graphs; `nonesuch tune` measures it.

Graphs are compiled for one image: with a known batch size, buffers are planned once, and the element-wise operations
between two convolutions (noise, activation, style) become one pass. A batch runs image by image, over `lanes`.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..artifact import Artifact
from ..errors import BackendUnavailableError
from ..lanes import ImageRunner, Lanes
from ..manifest import Variant
from ..runtime_import import import_runtime
from ..session import Batch, Session, SessionOptions
from ..version import package_version
from .registry import Probe


def load_openvino() -> Any:
    """Import openvino.

    Raises:
        BackendUnavailableError: openvino is not installed, or does not load.
    """
    return import_runtime("openvino", "openvino")


class OpenVinoBackend:
    """The `openvino` backend."""

    name = "openvino"
    rank = 15
    automatic = True

    def probe(self) -> Probe:
        """Whether openvino imports, and its version."""
        try:
            load_openvino()
        except BackendUnavailableError as error:
            return Probe(False, error.message, "not installed" if find_spec("openvino") is None else "does not load")
        return Probe(True, f"openvino {package_version('openvino')} on the CPU")

    def session(self, artifact: Artifact, options: SessionOptions) -> Session:
        """A CPU session.

        Raises:
            BackendUnavailableError: openvino is missing, or the device is not the CPU.
            ArtifactError: the artifact has no variant for OpenVINO or ONNX Runtime.
        """
        load_openvino()
        if options.device not in {"auto", "cpu"}:
            raise BackendUnavailableError(f"the openvino backend runs on device cpu, not on {options.device!r}")
        variant = artifact.variant((self.name, "onnxruntime"), **options.variant_choice)
        return OpenVinoSession(artifact, variant, options)


class OpenVinoSession(Session):
    """One graph on the CPU, compiled for one image. Idle threads sleep, so `spinning` has no effect."""

    def __init__(self, artifact: Artifact, variant: Variant, options: SessionOptions) -> None:
        super().__init__(artifact, variant, options)
        self._lanes: Lanes | None = None

    @property
    def identity(self) -> str:
        """Runtime, version and device."""
        return f"openvino {package_version('openvino')} CPU"

    @property
    def preferred_batch_size(self) -> int:
        """One per lane: more would only wait."""
        return min(self.options.lanes or 1, self.options.max_batch_size)

    def _open(self) -> None:
        ov = load_openvino()
        core = ov.Core()
        model = core.read_model(self.artifact.read(self.variant.file))
        model.reshape({value: [1, *list(value.partial_shape)[1:]] for value in model.inputs})
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",  # otherwise a CPU with bfloat16 would use it
            "NUM_STREAMS": 1,
            **({"INFERENCE_NUM_THREADS": self.options.threads} if self.options.threads else {}),
        }
        wide = _runner(ov, core.compile_model(model, "CPU", settings))
        narrow: list[ImageRunner] = []
        if (lanes := self.options.lanes or 1) > 1:
            compiled = core.compile_model(model, "CPU", {**settings, "NUM_STREAMS": lanes})
            narrow = [_runner(ov, compiled) for _ in range(lanes)]
        self._lanes = Lanes(wide, narrow)

    def _run(self, batch: Batch) -> NDArray[np.uint8]:
        assert self._lanes is not None  # noqa: S101  # the base class calls _open first
        manifest = self.artifact.manifest
        return self._lanes.render(batch, (manifest.resolution, manifest.resolution, manifest.channels))

    def _close(self) -> None:
        lanes, self._lanes = self._lanes, None
        if lanes is not None:
            lanes.close()


def _runner(ov: Any, compiled: Any) -> ImageRunner:
    request = compiled.create_infer_request()

    def run(batch: Batch, image: NDArray[np.uint8]) -> None:
        request.set_output_tensor(ov.Tensor(image, shared_memory=True))
        request.infer({name: ov.Tensor(array, shared_memory=True) for name, array in batch.feeds().items()})

    return run
