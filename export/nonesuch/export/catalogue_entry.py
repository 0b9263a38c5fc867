"""A model in the catalogue: its file, its terms of use, and how to read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nonesuch.engine.manifest import WeightsSource

from .checkpoint import Checkpoint
from .download import ModelFile, sha256_of


@dataclass(frozen=True)
class CatalogueEntry:
    """A model of the catalogue."""

    name: str
    summary: str
    family: str
    resolution: int
    file: ModelFile
    licence: str  # one line, for lists
    terms: str  # to read before use
    card: str  # the makers' description
    read: Callable[[Path], Checkpoint]
    tried: bool = True  # whether the project itself has fetched and exported it

    def weights_source(self, path: Path) -> WeightsSource:
        """The origin for the manifest, with the hash of the file at `path`."""
        return WeightsSource(name=self.file.describe(), licence=self.terms, sha256=sha256_of(path))
