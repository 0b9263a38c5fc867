"""Opens a configured model as a generator, and measures memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from nonesuch.engine.generator import Generator

from ..settings import ModelSettings

_MIB = 1 << 20
_STATM = Path("/proc/self/statm")

OpenGenerator = Callable[[ModelSettings, int], Generator]
"""(model, max_batch_size) -> a generator, not loaded."""


def open_generator(model: ModelSettings, max_batch_size: int) -> Generator:
    """The generator of a configured model, not loaded.

    Raises:
        NonesuchError: as `Generator.open`.
    """
    return Generator.open(model.model, backend=model.backend, options=model.session_options(max_batch_size))


def size_mib(generator: Generator) -> float:
    """The min memory of the model: the size of its graph, MiB."""
    return Path(generator.artifact.folder, generator.session.variant.file).stat().st_size / _MIB


def resident_mib() -> float:
    """Resident memory of this process in MiB; 0 if unknown."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB
