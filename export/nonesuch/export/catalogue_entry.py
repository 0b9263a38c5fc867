"""What the catalogue says of one model: where its file is, who may use it for what, and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nonesuch.engine.manifest import WeightsSource

from .checkpoint import Checkpoint
from .download import ModelFile, sha256_of


@dataclass(frozen=True)
class CatalogueEntry:
    """A model that can be had by name."""

    name: str
    summary: str
    family: str
    resolution: int
    file: ModelFile
    licence: str  # one line, for lists
    terms: str  # what a user must know before using it
    card: str  # where the makers describe it
    read: Callable[[Path], Checkpoint]
    tried: bool = True  # whether the project itself has fetched and exported it

    def weights_source(self, path: Path) -> WeightsSource:
        """The origin as a manifest records it, with the hash of the file that is read."""
        return WeightsSource(name=self.file.describe(), licence=self.terms, sha256=sha256_of(path))
