"""`nonesuch export`: a model -> an ONNX artifact that any machine can run."""

from __future__ import annotations

from pathlib import Path

import click

from nonesuch.engine.errors import BackendUnavailableError
from nonesuch.engine.home import Home
from nonesuch.export.catalogue import find_entry

from .prepare import missing_export_packages
from .progress import on_terminal, track

__all__ = ["command"]


@click.command(name="export")
@click.argument("source")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder.  [default: in the user's home]")
@click.option(
    "--from", "file", type=click.Path(dir_okay=False, path_type=Path), help="A copy of the download, at hand."
)
@click.option("--precision", type=click.Choice(["fp32"]), default="fp32", show_default=True, help="Of the graph.")
@click.option("--force", is_flag=True, help="Put the new artifact in the place of one that is there.")
def command(source: str, out: Path | None, file: Path | None, precision: str, force: bool) -> None:
    """Export the model SOURCE, a name from `nonesuch models list`, and check what was written."""
    entry = find_entry(source)
    missing = missing_export_packages()
    if missing:
        raise BackendUnavailableError(f"export needs {', '.join(missing)}; pip install 'nonesuch[cpu,export]'")
    from nonesuch.export.named import export_named

    click.echo(f"Terms of {entry.name}: {entry.terms}", err=True)
    artifact = export_named(
        entry,
        Home.default(),
        out=out,
        source=file,
        replace=force,
        show_progress=on_terminal(),
        progress=track,
    )
    click.echo(f"checked: {artifact.manifest.checked}", err=True)
    click.echo(artifact.folder)
