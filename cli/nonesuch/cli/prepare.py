"""Opens the model that a command names; a catalogue model that is not here yet is fetched and exported first."""

from __future__ import annotations

from importlib.util import find_spec

import click

from nonesuch.engine.artifact import find_artifact
from nonesuch.engine.errors import DownloadError, ModelNotFoundError
from nonesuch.engine.generator import Generator
from nonesuch.engine.home import Home
from nonesuch.engine.session import SessionOptions

from .progress import on_terminal, track

_EXPORT_MODULES = {"onnx": "onnx", "onnx_ir": "onnx-ir", "safetensors": "safetensors", "defusedxml": "defusedxml"}


def missing_export_packages() -> list[str]:
    """Packages of the `export` extra that are not installed."""
    return [package for module, package in _EXPORT_MODULES.items() if find_spec(module) is None]


def open_generator(model: str, backend: str, options: SessionOptions) -> Generator:
    """A generator for the model, made ready if it can be.

    Raises:
        NonesuchError: as `Generator.open`, or the model cannot be fetched or exported.
    """
    prepare(model)
    return Generator.open(model, backend=backend, options=options)


def prepare(model: str) -> None:
    """Make sure that the model is here.

    Raises:
        NonesuchError: the artifact is damaged, or the model cannot be fetched or exported.
    """
    try:
        find_artifact(model)
    except ModelNotFoundError:
        _make(model)


def _make(model: str) -> None:
    from nonesuch.export.catalogue import CATALOGUE

    entry = CATALOGUE.get(model)
    if entry is None:
        raise ModelNotFoundError(
            f"no model {model!r}: no artifact of that name or path is here, and it cannot be had by name; "
            "see nonesuch models list"
        )
    missing = missing_export_packages()
    if missing:
        raise ModelNotFoundError(
            f"model {model!r} is not exported on this machine, and exporting needs {', '.join(missing)}; "
            "pip install 'nonesuch[cpu,export]', or name an artifact's folder with --model"
        )
    from nonesuch.export.named import ExportJob, export_named

    click.echo(f"Getting and exporting {entry.name}, once. Terms: {entry.terms}", err=True)
    try:
        export_named(entry, Home.default(), ExportJob(progress=track), show_progress=on_terminal())
    except DownloadError as error:
        # Its advice is --from, which the commands that only use a model do not have.
        raise DownloadError(f"{error.message}; the command that takes it is: nonesuch models pull {model}") from error
