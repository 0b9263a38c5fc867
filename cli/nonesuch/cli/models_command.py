"""`nonesuch models`: the models of the catalogue, and those exported on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from nonesuch.engine.artifact import MANIFEST_FILE, Artifact
from nonesuch.engine.errors import ArtifactError, ModelNotFoundError
from nonesuch.engine.home import Home
from nonesuch.export.catalogue import CATALOGUE, DEFAULT_MODEL, find_entry
from nonesuch.export.download import ModelFile

from .progress import on_terminal

_NOT_HERE = "not here"


@click.group(name="models")
def command() -> None:
    """List, fetch and describe models."""


@command.command(name="list")
def list_models() -> None:
    """List the models of the catalogue, and those exported here."""
    home = Home.default()
    exported = _exported(home)
    for entry in CATALOGUE.values():
        if entry.tried:
            default = " (default)" if entry.name == DEFAULT_MODEL else ""
            click.echo(f"{entry.name}{default}: {entry.summary}")
            click.echo(f"    {_state(entry.name, exported, home)}; download {_size(entry.file)}; {entry.licence}")
    for name in sorted(exported - set(CATALOGUE)):
        click.echo(f"{name}: exported to {home.artifacts / name}")
    click.echo("\nPublic checkpoints, from published, untested addresses (for the terms: models show NAME):")
    for entry in CATALOGUE.values():
        if not entry.tried:
            state = _state(entry.name, exported, home)
            here = "" if state == _NOT_HERE else f"{state}; "
            click.echo(f"{entry.name}: {here}{entry.summary}; {entry.licence}")


@command.command()
@click.argument("name", default=DEFAULT_MODEL)
@click.option("--from", "source", type=click.Path(dir_okay=False, path_type=Path), help="A local copy of the file.")
def pull(name: str, source: Path | None) -> None:
    """Fetch a model's file from its publisher, and check its hash."""
    entry = find_entry(name)
    home = Home.default()
    click.echo(f"Terms of {entry.name}: {entry.terms}", err=True)
    if not entry.tried and source is None and not entry.file.at_hand(home):
        click.echo(f"From {entry.file.describe()}, an untested address.", err=True)
    path = entry.file.fetch(home, source, show_progress=on_terminal())
    if entry.file.sha256 is None:
        recorded = entry.file.expected_sha256(home)
        click.echo(
            f"No hash was published; this one is recorded here and checked from now on: sha256 {recorded}", err=True
        )
    click.echo(path)


@command.command()
@click.argument("name", default=DEFAULT_MODEL)
def show(name: str) -> None:
    """Describe a model."""
    home = Home.default()
    exported = _exported(home)
    known = _catalogue_facts(name, exported, home) if name in CATALOGUE or name not in exported else {"name": name}
    for key, value in (known | _artifact_facts(name, home)).items():
        click.echo(f"{key + ':':<12}{value}")


def _catalogue_facts(name: str, exported: set[str], home: Home) -> dict[str, str]:
    entry = find_entry(name)
    file = entry.file
    return {
        "name": entry.name,
        "what": entry.summary,
        "family": entry.family,
        "resolution": f"{entry.resolution}x{entry.resolution}",
        "source": file.describe(),
        "tried": "yes" if entry.tried else "no: an untested address",
        "file": file.filename,
        "size": "not published" if file.size_bytes is None else f"{file.size_bytes} bytes",
        "sha256": _hash(file, home),
        "licence": entry.licence,
        "terms": entry.terms,
        "card": entry.card,
        "state": _state(name, exported, home),
    }


def _artifact_facts(name: str, home: Home) -> dict[str, str]:
    try:
        manifest = Artifact.open(home.artifacts / name).manifest
    except ArtifactError as error:
        return {"artifact": error.message}
    except ModelNotFoundError:
        return {"artifact": f"none; nonesuch export {name}"}
    return {
        "family": manifest.family,
        "resolution": f"{manifest.resolution}x{manifest.resolution}",
        "artifact": str(home.artifacts / name),
        "model id": manifest.model_id,
        "weights": manifest.source.name,
        "terms": manifest.source.licence,
        "checked": manifest.checked,
    }


def _exported(home: Home) -> set[str]:
    return {path.parent.name for path in home.artifacts.glob(f"*/{MANIFEST_FILE}")}


def _state(name: str, exported: set[str], home: Home) -> str:
    if name in exported:
        return "exported"
    return "downloaded" if find_entry(name).file.at_hand(home) else _NOT_HERE


def _size(file: ModelFile) -> str:
    return "of unpublished size" if file.size_bytes is None else f"{file.size_bytes / 1e6:.0f} MB"


def _hash(file: ModelFile, home: Home) -> str:
    if file.sha256 is not None:
        return file.sha256
    recorded = file.expected_sha256(home)
    return f"{recorded} (recorded on first use)" if recorded else "not published; recorded on first use"
