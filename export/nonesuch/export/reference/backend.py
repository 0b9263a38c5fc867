"""The PyTorch reference networks as a backend: the eager baseline of the benchmarks, never chosen by `auto`.

An artifact holds graphs, not tensors; the weights come from the converted checkpoint that `nonesuch export` keeps in
the user's home under the model id.
"""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.backend import Probe
from nonesuch.engine.errors import BackendUnavailableError
from nonesuch.engine.home import Home
from nonesuch.engine.session import Batch, Session, SessionOptions

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint

__all__ = ["TorchBackend", "TorchSession"]


class TorchBackend:
    """The `torch` backend."""

    name = "torch"
    rank = 0
    automatic = False

    def probe(self) -> Probe:
        """Whether torch is installed; it is not imported, which would take seconds."""
        missing = [package for package in ("torch", "safetensors") if find_spec(package) is None]
        if missing:
            return Probe(False, f"{' and '.join(missing)} not installed; pip install 'nonesuch[torch]'")
        return Probe(True, f"torch {metadata.version('torch')}, the eager baseline")

    def session(self, artifact: Artifact, options: SessionOptions) -> Session:
        """A session of the eager reference network.

        Raises:
            BackendUnavailableError: torch, the device or the converted checkpoint is missing.
        """
        probe = self.probe()
        if not probe.usable:
            raise BackendUnavailableError(f"backend torch cannot be used here: {probe.detail}")
        from ..checkpoint import Checkpoint

        folder = Checkpoint.folder(Home.default(), artifact.manifest.model_id)
        if not folder.is_dir():
            raise BackendUnavailableError(
                f"backend torch needs the converted weights of {artifact.manifest.name!r}, which are not in {folder}; "
                f"make them with: nonesuch export {artifact.manifest.name} --force"
            )
        checkpoint = Checkpoint.load(folder)
        if checkpoint.model_id != artifact.manifest.model_id:
            raise BackendUnavailableError(
                f"the converted weights in {folder} were altered; delete the folder and make them again with: "
                f"nonesuch export {artifact.manifest.name} --force"
            )
        return TorchSession(artifact, options, checkpoint)


class TorchSession(Session):
    """Eager PyTorch on any device that PyTorch knows. Not bit-identical across batch sizes unless `deterministic`."""

    def __init__(self, artifact: Artifact, options: SessionOptions, checkpoint: Checkpoint) -> None:
        super().__init__(artifact, artifact.variant(TorchBackend.name, noise=options.noise), options)
        self._checkpoint = checkpoint
        self._device = "cpu" if options.device == "auto" else options.device
        self._network: Any = None

    @property
    def identity(self) -> str:
        """Runtime, version and device."""
        return f"torch {metadata.version('torch')} {self._device} eager"

    def _open(self) -> None:
        import torch

        from ..families import find_family

        if self.options.threads is not None:
            torch.set_num_threads(self.options.threads)
        try:
            device = torch.device(self._device)
            self._network = find_family(self._checkpoint.family).reference(self._checkpoint).to(device)
        except (RuntimeError, AssertionError) as error:
            raise BackendUnavailableError(f"torch has no device {self._device!r} here ({error})") from error

    def _run(self, batch: Batch) -> NDArray[np.uint8]:
        from .output import to_uint8
        from .rendering import render

        image = render(self._network, batch, self.variant, self._device)
        return np.asarray(to_uint8(image).cpu().numpy(), dtype=np.uint8)

    def _close(self) -> None:
        self._network = None
