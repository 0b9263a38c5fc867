"""How a configured model becomes a generator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nonesuch.engine.generator import Generator

from .settings import ModelSettings

__all__ = ["OpenGenerator", "open_generator", "size_mib"]

OpenGenerator = Callable[[ModelSettings, int], Generator]
"""(model, max_batch_size) -> a generator that is not loaded yet."""


def open_generator(model: ModelSettings, max_batch_size: int) -> Generator:
    """A generator as the settings say.

    Raises:
        NonesuchError: as `Generator.open`.
    """
    return Generator.open(model.model, backend=model.backend, options=model.session_options(max_batch_size))


def size_mib(generator: Generator) -> float:
    """What the model takes at the least: the size of its graph, MiB."""
    return Path(generator.artifact.folder, generator.session.variant.file).stat().st_size / (1 << 20)
