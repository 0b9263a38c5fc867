"""`nonesuch directions`: the directions in w along which a model's pictures change the most (SeFa)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from nonesuch.engine.directions import Directions, factorize
from nonesuch.engine.errors import BackendUnavailableError
from nonesuch.engine.generator import Generator
from nonesuch.engine.home import Home
from nonesuch.engine.latent_pipeline import PictureOptions
from nonesuch.engine.provenance import ImageRecord
from nonesuch.engine.session import Batch
from nonesuch.engine.source import Seeds
from nonesuch.engine.style_mix import LayerGroup

from .backend_flags import BackendFlags, backend_flags
from .contact_sheet import ContactSheet, sheet_format
from .prepare import missing_export_packages
from .progress import track

_STEPS = 5


@click.command(name="directions")
@click.option("--count", default=8, show_default=True, help="Number of directions.")
@click.option(
    "--layers",
    type=click.Choice(["all", *(group.value for group in LayerGroup)]),
    default="all",
    show_default=True,
    help="The layers that the directions move.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="FILE.npz.")
@click.option(
    "--grid", type=click.Path(dir_okay=False, path_type=Path), help="Also draw a row of pictures for each direction."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the picture that --grid moves.")
@click.option("--strength", default=3.0, show_default=True, help="Distance that --grid moves it, to both sides.")
@backend_flags
def command(
    count: int, layers: str, out: Path, grid: Path | None, seed: int, strength: float, backend: BackendFlags
) -> None:
    """Find directions by SeFa, for generate --direction FILE INDEX STRENGTH."""
    if missing := missing_export_packages():
        raise BackendUnavailableError(f"directions needs {', '.join(missing)}; pip install 'nonesuch[cpu,export]'")
    if grid is not None:
        sheet_format(grid)
    from nonesuch.export.checkpoint import Checkpoint

    generator = backend.open()
    manifest = generator.manifest
    folder = Checkpoint.folder(Home.default(), manifest.model_id)
    if not folder.is_dir():
        raise BackendUnavailableError(
            f"directions needs the converted weights of {manifest.name!r}, which are not in {folder}; "
            "export the model on this machine again, with --force"
        )
    checkpoint = Checkpoint.load(folder)
    used = [entry for entry in manifest.ws_layout if entry.consumers]
    chosen = {entry.index for entry in used} if layers == "all" else set(LayerGroup(layers).layers(manifest))
    affines = [
        checkpoint.tensors[f"synthesis.{consumer}.affine.weight"]
        for entry in used
        if entry.index in chosen
        for consumer in entry.consumers
    ]
    found = factorize(affines, sorted(chosen), count, manifest.model_id)
    found.save(out)
    click.echo(out)
    if grid is not None:
        with generator:
            _draw(generator, found, seed, strength, grid)
        click.echo(grid)


def _draw(generator: Generator, directions: Directions, seed: int, strength: float, path: Path) -> None:
    """A row for each direction: the picture of the seed moved from -strength to +strength."""
    source = Seeds([seed])
    base = generator.latents.batch(source, PictureOptions())
    count = len(directions.vectors)
    sheet = ContactSheet(count * _STEPS, generator.manifest.resolution, columns=_STEPS)

    def batches() -> Iterator[Batch]:
        for index in range(count):
            for step in np.linspace(-strength, strength, _STEPS):
                yield Batch(directions.move(base.ws, index, float(step)), base.inputs)

    results = track(generator.render(batches()), "directions", count * _STEPS)
    for position, result in enumerate(results):
        sheet.place(position, result.images[0])
    sheet.save(path, ImageRecord(generator.manifest.name, generator.manifest.model_id, seed, source.psi(None)))
