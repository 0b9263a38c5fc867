"""`nonesuch generate`: images on this machine; the device, the encoders and the disk work at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.directions import Directions
from nonesuch.engine.encoder import EncodeOptions
from nonesuch.engine.image_format import ImageFormat
from nonesuch.engine.latent_pipeline import PictureOptions
from nonesuch.engine.latents import check_psi
from nonesuch.engine.provenance import ImageRecord
from nonesuch.engine.style_mix import StyleMix

from .chosen_source import chosen_source
from .contact_sheet import ContactSheet, sheet_format
from .options import backend_options, picture_options
from .picture_writer import Picture, write_pictures
from .prepare import open_generator
from .progress import track
from .session_choice import session_options
from .style_options import style_options


@click.command(name="generate")
@picture_options(ImageFormat.PNG)
@style_options
@click.option(
    "--direction",
    "moves",
    type=(click.Path(dir_okay=False, path_type=Path), int, float),
    multiple=True,
    metavar="FILE INDEX STRENGTH",
    help="Move along a direction that nonesuch directions found.",
)
@click.option("--noise-seed", type=int, help="Seed of random noise.  [default: the image's own]")
@backend_options
def command(
    seeds: list[int] | None,
    psi: float | None,
    cutoff: int | None,
    class_index: int | None,
    out: Path,
    grid: Path | None,
    format_name: str,
    quality: int | None,
    w_file: Path | None,
    mixing: tuple[StyleMix, ...],
    translate: tuple[float, float] | None,
    rotate_degrees: float | None,
    noise_seed: int | None,
    moves: tuple[tuple[Path, int, float], ...],
    model: str,
    **backend: object,
) -> None:
    """Write one image for each seed into --out."""
    source = chosen_source(seeds, w_file)
    encode = EncodeOptions(ImageFormat.parse(format_name), quality)
    if psi is not None:
        check_psi(psi)
    if grid is not None:
        sheet_format(grid)
    picture = PictureOptions(psi, cutoff, class_index, mixing, noise_seed, translate, rotate_degrees)
    directions = [(Directions.load(path), index, strength) for path, index, strength in moves]

    def moved(ws: NDArray[np.float32]) -> NDArray[np.float32]:
        for found, index, strength in directions:
            ws = found.move(ws, index, strength)
        return ws

    with open_generator(model, str(backend["backend"]), session_options(backend)) as generator:
        for found, _, _ in directions:
            found.check_model(generator.manifest.model_id)
        if noise_seed is not None and generator.session.variant.noise != "random":
            raise click.UsageError(f"--noise-seed: the variant has {generator.session.variant.noise} noise, not random")
        click.echo(generator.backend_reason, err=True)
        manifest = generator.manifest
        images = generator.stream(source, picture, edit=moved)
        shaped_by = (*picture.words, *(f"{size:g} along direction {number}" for _, number, size in directions))

        def record(seed: int | None) -> ImageRecord:
            return ImageRecord(manifest.name, manifest.model_id, seed, source.psi(psi), shaped_by)

        def pictures() -> Iterator[Picture]:
            for index, image in enumerate(track(images, "images", len(source))):
                yield source.name(index), image, record(source.seed(index))

        sheet = ContactSheet(len(source), manifest.resolution) if grid is not None else None
        write_pictures(pictures(), out, encode, sheet)
        if sheet is not None and grid is not None:
            sheet.save(grid, record(None))
            click.echo(grid)
