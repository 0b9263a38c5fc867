"""Prepares the model of a command: a catalogue model that is not on this machine is fetched and exported."""

from __future__ import annotations

from importlib.util import find_spec

import click

from nonesuch.engine.artifact import find_artifact
from nonesuch.engine.errors import DownloadError, ModelNotFoundError
from nonesuch.engine.home import Home

from .progress import on_terminal, track

_EXPORT_MODULES = {"onnx": "onnx", "onnx_ir": "onnx-ir", "safetensors": "safetensors", "defusedxml": "defusedxml"}


def missing_export_packages() -> list[str]:
    """Packages of the `export` extra that are not installed."""
    return [package for module, package in _EXPORT_MODULES.items() if find_spec(module) is None]


def prepare(model: str) -> None:
    """Make sure that the model, a name or an artifact's folder, is exported on this machine.

    Raises:
        NonesuchError: the artifact is damaged, or the model cannot be fetched or exported.
    """
    try:
        find_artifact(model)
    except ModelNotFoundError:
        _export(model)


def _export(model: str) -> None:
    from nonesuch.export.catalogue import CATALOGUE

    entry = CATALOGUE.get(model)
    if entry is None:
        raise ModelNotFoundError(
            f"no model {model!r}: there is no artifact of that name or path, and the catalogue does not have it; "
            "see nonesuch models list"
        )
    missing = missing_export_packages()
    if missing:
        raise ModelNotFoundError(
            f"model {model!r} is not exported on this machine, and exporting needs {', '.join(missing)}; "
            "pip install 'nonesuch[cpu,export]', or name an artifact's folder with --model"
        )
    from nonesuch.export.export_job import ExportJob, export_named

    click.echo(f"Getting and exporting {entry.name}, once. Terms: {entry.terms}", err=True)
    try:
        export_named(entry, Home.default(), ExportJob(progress=track), show_progress=on_terminal())
    except DownloadError as error:
        # Its advice is --from, an option that only models pull and export have.
        raise DownloadError(f"{error.message}; the command that takes it is: nonesuch models pull {model}") from error
