"""`nonesuch generate`: images on this machine; the device, the encoders and the disk work at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.directions import Directions
from nonesuch.engine.encoder import ImageFormat
from nonesuch.engine.provenance import ImageRecord

from .backend_flags import BackendFlags, backend_flags
from .contact_sheet import ContactSheet
from .picture_flags import PictureFlags, picture_flags
from .picture_writer import Picture, write_pictures
from .progress import track


@click.command(name="generate")
@picture_flags(ImageFormat.PNG)
@click.option(
    "--direction",
    "moves",
    type=(click.Path(dir_okay=False, path_type=Path), int, float),
    multiple=True,
    metavar="FILE INDEX STRENGTH",
    help="Move along a direction that nonesuch directions found.",
)
@click.option("--noise-seed", type=int, help="Seed of random noise.  [default: the image's own]")
@backend_flags
def command(
    flags: PictureFlags, moves: tuple[tuple[Path, int, float], ...], noise_seed: int | None, backend: BackendFlags
) -> None:
    """Write one image for each seed into --out."""
    source, picture = flags.source, replace(flags.picture, noise_seed=noise_seed)
    directions = [(Directions.load(path), index, strength) for path, index, strength in moves]

    def move(ws: NDArray[np.float32]) -> NDArray[np.float32]:
        for found, index, strength in directions:
            ws = found.move(ws, index, strength)
        return ws

    with backend.open() as generator:
        for found, _, _ in directions:
            found.check_model(generator.manifest.model_id)
        if noise_seed is not None and generator.session.variant.noise != "random":
            raise click.UsageError(f"--noise-seed: the variant has {generator.session.variant.noise} noise, not random")
        click.echo(generator.backend_reason, err=True)
        manifest = generator.manifest
        images = generator.stream(source, picture, edit=move)
        shaped_by = (*picture.describe(), *(f"{size:g} along direction {number}" for _, number, size in directions))

        def record(seed: int | None) -> ImageRecord:
            return ImageRecord(manifest.name, manifest.model_id, seed, source.psi(picture.psi), shaped_by)

        def pictures() -> Iterator[Picture]:
            for index, image in enumerate(track(images, "images", len(source))):
                yield source.name(index), image, record(source.seed(index))

        sheet = ContactSheet(len(source), manifest.resolution) if flags.grid is not None else None
        write_pictures(pictures(), flags.out, flags.encode, sheet)
        if sheet is not None and flags.grid is not None:
            sheet.save(flags.grid, record(None))
            click.echo(flags.grid)
