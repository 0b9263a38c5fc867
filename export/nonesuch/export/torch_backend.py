"""The PyTorch reference networks as a backend: the eager baseline of the benchmarks, never chosen by `auto`.

An artifact holds graphs, not tensors. The weights come from the converted checkpoint that `nonesuch export` stores in
the user's home under the model id.
"""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.registry import Probe
from nonesuch.engine.errors import BackendUnavailableError
from nonesuch.engine.home import Home
from nonesuch.engine.session import Batch, Session, SessionOptions

from .reference.rendering import TorchSettings

if TYPE_CHECKING:
    from .checkpoint import Checkpoint
    from .reference.device_run import DeviceRun


class TorchBackend:
    """The `torch` backend. Benchmarks use `settings` to compare ways to run the networks."""

    name = "torch"
    rank = 0
    automatic = False

    def __init__(self, settings: TorchSettings | None = None) -> None:
        self.settings = settings or TorchSettings()

    def probe(self) -> Probe:
        """Check whether torch is installed, without importing it, which takes seconds."""
        missing = [package for package in ("torch", "safetensors") if find_spec(package) is None]
        if missing:
            return Probe(False, f"{' and '.join(missing)} not installed; pip install 'nonesuch[torch]'")
        return Probe(True, f"torch {metadata.version('torch')}, the eager baseline")

    def session(self, artifact: Artifact, options: SessionOptions) -> TorchSession:
        """Return a session of the reference network, eager by default.

        Raises:
            BackendUnavailableError: torch, the device or the converted checkpoint is missing.
        """
        probe = self.probe()
        if not probe.usable:
            raise BackendUnavailableError(f"backend torch is not available: {probe.detail}")
        from .checkpoint import Checkpoint

        folder = Checkpoint.folder(Home.default(), artifact.manifest.model_id)
        if not folder.is_dir():
            raise BackendUnavailableError(
                f"backend torch needs the converted weights of {artifact.manifest.name!r}, not found in {folder}; "
                f"create them with: nonesuch export {artifact.manifest.name} --force"
            )
        checkpoint = Checkpoint.load(folder)
        if checkpoint.model_id != artifact.manifest.model_id:
            raise BackendUnavailableError(
                f"the converted weights in {folder} were altered; delete the folder and recreate them with: "
                f"nonesuch export {artifact.manifest.name} --force"
            )
        return TorchSession(artifact, options, checkpoint, self.settings)


class TorchSession(Session):
    """PyTorch on any device that it supports. Not bit-identical across batch sizes unless `deterministic`.

    Attributes:
        settings: how the network runs.
        device_ms: duration of the last run by the device's clock, without the copies of inputs and picture; None before
            the first run and on devices other than CUDA.
    """

    def __init__(
        self,
        artifact: Artifact,
        options: SessionOptions,
        checkpoint: Checkpoint,
        settings: TorchSettings | None = None,
    ) -> None:
        super().__init__(artifact, artifact.variant(TorchBackend.name, noise=options.noise), options)
        self.settings = settings or TorchSettings()
        self.device_ms: float | None = None
        self._checkpoint = checkpoint
        self._device = "cpu" if options.device == "auto" else options.device
        self._device_run: DeviceRun | None = None

    @property
    def identity(self) -> str:
        """Runtime, version, device, and the settings if they are not the default."""
        mode = "eager" if self.settings == TorchSettings() else self.settings.label
        return f"torch {metadata.version('torch')} {self._device} {mode}"

    def _open(self) -> None:
        import torch

        from .families import find_family
        from .reference.device_run import DeviceRun

        if self.options.threads is not None:
            torch.set_num_threads(self.options.threads)
        network = find_family(self._checkpoint.family).reference(self._checkpoint, self.settings.form)
        try:
            device = torch.device(self._device)
            if self.settings.memory_format == "channels_last":
                network = network.to(memory_format=torch.channels_last)
            network = network.to(device, torch.float16 if self.settings.half else torch.float32)
        except (RuntimeError, AssertionError) as error:
            raise BackendUnavailableError(f"torch has no device {self._device!r} on this machine ({error})") from error
        if self.settings.cuda_graphs and device.type != "cuda":
            raise BackendUnavailableError(f"CUDA graphs were requested on device {self._device!r}; they need cuda")
        self._device_run = DeviceRun(network, self.variant, self._device, self.settings)

    def _run(self, batch: Batch) -> NDArray[np.uint8]:
        assert self._device_run is not None  # noqa: S101 - the base class only runs open sessions
        image, self.device_ms = self._device_run(batch)
        return np.asarray(image, dtype=np.uint8)

    def _close(self) -> None:
        self._device_run = None
