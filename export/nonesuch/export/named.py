"""A catalogue name -> an artifact: fetch, convert, export; each step is skipped where its result is there."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock

from nonesuch.engine.artifact import MANIFEST_FILE, Artifact
from nonesuch.engine.home import Home

from .catalogue import CatalogueEntry
from .checkpoint import Checkpoint
from .download import fetch_file
from .exporter import Progress, export_checkpoint

__all__ = ["export_named"]


def export_named(
    entry: CatalogueEntry,
    home: Home,
    *,
    out: Path | None = None,
    source: Path | None = None,
    replace: bool = False,
    show_progress: bool = False,
    progress: Progress = lambda items, _: items,
) -> Artifact:
    """Export a model by name, into the user's home unless `out` says otherwise.

    In the user's home a second process waits for the first and takes its result.

    Raises:
        DownloadError: the file cannot be had.
        CheckpointError: it is not the network that it should be.
        ExportMismatchError: the graphs disagree with the reference, or `out` is taken.
        BackendUnavailableError: ONNX Runtime, which the checks need, is not installed.
    """
    target = out or home.artifacts / entry.name
    home.artifacts.mkdir(parents=True, exist_ok=True)
    with FileLock(home.artifacts / f".{entry.name}.lock"):
        if out is None and not replace and (target / MANIFEST_FILE).is_file():
            return Artifact.open(target)
        checkpoint = entry.read(fetch_file(entry.file, home, source=source, show_progress=show_progress))
        checkpoint.save(Checkpoint.folder(home, checkpoint.model_id))
        return export_checkpoint(
            checkpoint, target, name=entry.name, source=entry.source, replace=replace, progress=progress
        )
