"""Any backend of the engine as a subject."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.generator import Generator
from nonesuch.engine.session import Batch, SessionOptions

from ..measurement import BenchmarkError
from ..subject import Subject

__all__ = ["EngineSubject"]


class EngineSubject(Subject):
    """A backend by its name, at the given options or its defaults."""

    def __init__(self, model: str, backend: str, *, options: SessionOptions | None = None, label: str = "") -> None:
        """The subject is called like the backend, and the label, "tuned", where there is one."""
        self.name = f"{backend}, {label}" if label else backend
        self._model, self._backend, self._options = model, backend, options
        self._generator: Generator | None = None

    @property
    def generator(self) -> Generator:
        """The open generator.

        Raises:
            BenchmarkError: the subject is not open.
        """
        if self._generator is None:
            raise BenchmarkError(f"{self.name} is not open; call open first")
        return self._generator

    @property
    def detail(self) -> str:
        """The session's identity, the graph that it runs, and the options that are not the defaults."""
        session = self.generator.session
        plain = SessionOptions()
        chosen = [
            f"{field.name} {getattr(session.options, field.name)}"
            for field in fields(SessionOptions)
            if getattr(session.options, field.name) != getattr(plain, field.name)
        ]
        return ", ".join([session.identity, f"{session.variant.file} ({session.variant.precision})", *chosen])

    @property
    def reduced_precision(self) -> bool:
        """Whether the variant that was chosen is not float32."""
        return self.generator.session.variant.precision != "fp32"

    def supports(self, batch_size: int) -> bool:
        """Up to the options' maximum."""
        return 1 <= batch_size <= (self._options or SessionOptions()).max_batch_size

    def open(self) -> None:
        """Load the graph. Raises as `Generator.open`."""
        generator = Generator.open(self._model, backend=self._backend, options=self._options)
        generator.load()
        self._generator = generator

    def run(self, batch: Batch) -> NDArray[np.uint8]:
        """One batch through the session, as a server would submit it."""
        images: NDArray[np.uint8] = self.generator.session.submit(batch).result().images
        return images

    def close(self) -> None:
        """Close the generator."""
        generator, self._generator = self._generator, None
        if generator is not None:
            generator.close()
