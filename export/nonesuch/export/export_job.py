"""Exports a catalogue name or a checkpoint file to an artifact: download, convert, export, unless it exists."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from nonesuch.engine.artifact import MANIFEST_FILE, Artifact
from nonesuch.engine.errors import CheckpointError, ExportMismatchError
from nonesuch.engine.home import Home
from nonesuch.engine.manifest import Variant, WeightsSource

from .checkpoint import Checkpoint
from .download import CatalogueEntry, sha256_of
from .exporter import export_checkpoint
from .graphs.synthesis_builder import VariantOptions
from .mean_w import Progress

_UNKNOWN_TERMS = (
    "The file says nothing of its terms; the weights keep those of their own source, and most public StyleGAN weights "
    "are for research and non-commercial use."
)


@dataclass(frozen=True)
class ExportJob:
    """The options of an export from any source."""

    out: Path | None = None  # None: in the user's home, under the model's name
    variants: Sequence[VariantOptions] = (VariantOptions(),)
    replace: bool = False
    progress: Progress = lambda items, _: items


def export_named(
    entry: CatalogueEntry,
    home: Home,
    job: ExportJob | None = None,
    *,
    source: Path | None = None,
    show_progress: bool = False,
) -> Artifact:
    """Export a model by name; `source` is a local copy of its file.

    In the user's home a second process waits for the first and takes its result. An existing artifact of another file,
    or without the requested variants, is an error.

    Raises:
        DownloadError: the file cannot be fetched.
        CheckpointError: it is not the expected network.
        UnsupportedError: the family has no such variant.
        ExportMismatchError: the graphs disagree with the reference, or `out` exists.
        BackendUnavailableError: ONNX Runtime, which the checks need, is not installed.
    """

    def read() -> tuple[Checkpoint, WeightsSource]:
        path = entry.file.fetch(home, source, show_progress=show_progress)
        return entry.read(path), entry.weights_source(path)

    return _export(entry.name, read, entry.file.expected_sha256(home), home, job or ExportJob())


def export_file(path: Path, home: Home, job: ExportJob | None = None, *, name: str | None = None) -> Artifact:
    """Export a checkpoint file of any format that `formats.detect` reads; `name` defaults to the file's.

    Raises:
        CheckpointError: the file is not readable, not safe, or not in a supported format; the rest as `export_named`.
    """
    from .formats.detect import read_checkpoint

    def read() -> tuple[Checkpoint, WeightsSource]:
        checkpoint = read_checkpoint(path)
        return checkpoint, WeightsSource(name=path.name, licence=_UNKNOWN_TERMS, sha256=sha256_of(path))

    return _export(name or model_name(path), read, sha256_of(path), home, job or ExportJob())


def model_name(path: Path) -> str:
    """A model name from a file's stem: its letters, digits, dots, dashes and underscores.

    Raises:
        CheckpointError: no characters are left.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")
    if not name:
        raise CheckpointError(f"{path.name!r} does not yield a model name; choose one with --name")
    return name


def _export(
    name: str, read: Callable[[], tuple[Checkpoint, WeightsSource]], sha256: str | None, home: Home, job: ExportJob
) -> Artifact:
    """Export the result of `read` unless the artifact exists; `sha256` is of its file, if known beforehand."""
    target = job.out or home.artifacts / name
    home.artifacts.mkdir(parents=True, exist_ok=True)
    with FileLock(home.artifacts / f".{name}.lock"):
        if job.out is None and not job.replace and (target / MANIFEST_FILE).is_file():
            return _matching(Artifact.open(target), sha256, job.variants)
        checkpoint, source = read()
        checkpoint.save(Checkpoint.folder(home, checkpoint.model_id))
        return export_checkpoint(
            checkpoint,
            target,
            name=name,
            source=source,
            variants=job.variants,
            replace=job.replace,
            progress=job.progress,
        )


def _matching(artifact: Artifact, sha256: str | None, variants: Sequence[VariantOptions]) -> Artifact:
    """The existing artifact, if it matches the request.

    Raises:
        ExportMismatchError: it was made from another file, or lacks a variant.
    """
    manifest = artifact.manifest
    if sha256 not in {None, manifest.source.sha256}:
        raise ExportMismatchError(
            f"a model called {manifest.name!r} is exported already, from another file ({manifest.source.name}); "
            "choose another --name, or --force to replace it"
        )
    for wanted in variants:
        if not any(_fits(wanted, existing) for existing in manifest.variants):
            raise ExportMismatchError(
                f"{manifest.name!r} is exported already, without the {wanted.precision} variant with {wanted.noise} "
                "noise; --force replaces it"
            )
    return artifact


def _fits(wanted: VariantOptions, existing: Variant) -> bool:
    options = (wanted.precision, wanted.noise, wanted.linear, wanted.output)
    upsampling = wanted.upsampling in {"default", existing.upsampling}
    return upsampling and options == (existing.precision, existing.noise, existing.linear, existing.output)
