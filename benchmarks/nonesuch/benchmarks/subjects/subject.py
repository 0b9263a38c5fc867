"""What is measured: something that turns a batch of styles into pictures; and the batches that every subject gets."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.artifact import find_artifact
from nonesuch.engine.backends.onnxruntime import load_mapping
from nonesuch.engine.generator import Generator
from nonesuch.engine.latent_pipeline import LatentPipeline, PictureOptions
from nonesuch.engine.latents import DEFAULT_PSI
from nonesuch.engine.session import Batch, Session, SessionOptions
from nonesuch.engine.source import Seeds

from ..result import BenchmarkError

DISTINCT_IMAGES = 32


class Subject(ABC):
    """One way to render a model. Constructing one is cheap; `open` takes the device, `close` gives it back."""

    name: str  # what reports call it, unique within a suite: "openvino", "torch eager, reference form, contiguous"
    # what the last run took by the device's own clock, without copies to and from it; None where the device has no
    # clock of its own
    device_ms: float | None = None

    @property
    @abstractmethod
    def detail(self) -> str:
        """Runtime, version, device and settings in one line; known once the subject is open."""

    @property
    def reduced_precision(self) -> bool:
        """Whether it computes in less than float32, so that its pictures may differ more."""
        return False

    def supports(self, batch_size: int) -> bool:
        """Whether it takes batches of that size."""
        return batch_size >= 1

    @abstractmethod
    def open(self) -> None:
        """Load the network onto the device.

        Raises NonesuchError where what it needs is missing or refuses the model; the message is the reason to leave it
        out.
        """

    @abstractmethod
    def run(self, batch: Batch) -> NDArray[np.uint8]:
        """The pictures, uint8 [n, H, W, C]; `device_ms` is set where there is one."""

    @abstractmethod
    def close(self) -> None:
        """Give the device back; a second call does nothing."""

    def time_ms(self, batch: Batch) -> float:
        """What a run takes from numpy arrays in to numpy arrays out, milliseconds."""
        start = time.perf_counter()
        self.run(batch)
        return (time.perf_counter() - start) * 1e3


class SessionSubject(Subject):
    """A subject that is a session of the engine, with its options."""

    def __init__(self, name: str, options: SessionOptions) -> None:
        self.name = name
        self.options = options
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The open session. Raises BenchmarkError where the subject is not open."""
        if self._session is None:
            raise BenchmarkError(f"{self.name} is not open; call open first")
        return self._session

    def supports(self, batch_size: int) -> bool:
        """Up to the options' maximum."""
        return 1 <= batch_size <= self.options.max_batch_size

    def run(self, batch: Batch) -> NDArray[np.uint8]:
        """One batch through the session, as a server would submit it."""
        images: NDArray[np.uint8] = self.session.submit(batch).result().images
        return images

    def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            self._session.close()
            self._session = None


class EngineSubject(SessionSubject):
    """A backend of the engine by its name, called like it; and like the label, "tuned", where there is one."""

    def __init__(self, model: str, backend: str, *, options: SessionOptions | None = None, label: str = "") -> None:
        super().__init__(f"{backend}, {label}" if label else backend, options or SessionOptions())
        self._model, self._backend = model, backend

    @property
    def detail(self) -> str:
        """The session's identity, the graph that it runs, and the options that are not the defaults."""
        session, plain = self.session, SessionOptions()
        values = {field.name: getattr(session.options, field.name) for field in fields(SessionOptions)}
        chosen = [f"{name} {value}" for name, value in values.items() if value != getattr(plain, name)]
        return ", ".join([session.identity, f"{session.variant.file} ({session.variant.precision})", *chosen])

    @property
    def reduced_precision(self) -> bool:
        """Whether the variant that was chosen is not float32."""
        return self.session.variant.precision != "fp32"

    def open(self) -> None:
        """Load the graph. Raises as `Generator.open`."""
        generator = Generator.open(self._model, backend=self._backend, options=self.options)
        generator.load()
        self._session = generator.session


class Workload:
    """Batches of a model, of its first variant that shows pictures, class 0 where it has classes.

    Every subject of a run gets the same seeds in the same rounds, mapped beforehand. The batches fit `variant`.
    """

    def __init__(self, model: str, *, psi: float = DEFAULT_PSI, images: int = DISTINCT_IMAGES) -> None:
        """Maps the seeds 0 to `images` - 1. Raises NonesuchError if the model does not exist or is damaged."""
        self.artifact = find_artifact(model)
        variants = self.artifact.manifest.variants
        self.variant = next((v for v in variants if v.output == "uint8_nhwc"), variants[0])
        options = PictureOptions(psi=psi, class_index=0 if self.artifact.manifest.c_dim else None)
        self._images = LatentPipeline(self.artifact, self.variant, load_mapping).batch(Seeds(range(images)), options)

    def __len__(self) -> int:
        return len(self._images)

    def batch(self, number: int, size: int) -> Batch:
        """The batch of a round: the next `size` images, from the first again when they are used up."""
        rows = [index % len(self) for index in range(number * size, (number + 1) * size)]
        return Batch.join([self._images[row : row + 1] for row in rows])
