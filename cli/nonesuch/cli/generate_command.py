"""`nonesuch generate`: images on this machine; the device, the encoders and the disk work at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.directions import Directions
from nonesuch.engine.encoder import EncodeOptions
from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.generator import Generator
from nonesuch.engine.image_format import ImageFormat
from nonesuch.engine.latent_pipeline import PictureOptions
from nonesuch.engine.latents import DEFAULT_PSI, check_psi
from nonesuch.engine.provenance import ImageRecord
from nonesuch.engine.session import Batch
from nonesuch.engine.style_mix import StyleMix

from .contact_sheet import ContactSheet, sheet_format
from .latent_file import read_latents
from .options import backend_options, picture_options
from .picture_writer import Picture, write_pictures
from .prepare import open_generator
from .progress import track
from .session_choice import session_options
from .style_options import style_options

__all__ = ["command"]


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
    if (seeds is None) == (w_file is None):
        raise click.UsageError("give --seeds, such as --seeds 0-7, or --w FILE")
    encode = EncodeOptions(ImageFormat.parse(format_name), quality)
    if psi is not None:
        check_psi(psi)
    if grid is not None:
        sheet_format(grid)
    source = _Source(seeds) if w_file is None else _Source(None, *read_latents(w_file))
    picture = PictureOptions(psi, cutoff, class_index, mixing, noise_seed, translate, rotate_degrees)
    directions = [(Directions.load(path), index, strength) for path, index, strength in moves]

    def moved(batch: Batch) -> Batch:
        ws = batch.ws
        for found, index, strength in directions:
            ws = found.move(ws, index, strength)
        return Batch(ws, batch.inputs)

    with open_generator(model, str(backend["backend"]), session_options(backend)) as generator:
        for found, _, _ in directions:
            found.check_model(generator.manifest.model_id)
        if noise_seed is not None and generator.session.variant.noise != "random":
            raise click.UsageError(f"--noise-seed: the variant has {generator.session.variant.noise} noise, not random")
        click.echo(generator.backend_reason, err=True)
        manifest = generator.manifest
        applied_psi = psi if psi is not None else DEFAULT_PSI if w_file is None else 1.0
        images = _images(generator, map(moved, source.batches(generator, picture)), source.count)

        shaped_by = (*picture.words, *(f"{size:g} along direction {number}" for _, number, size in directions))

        def record(seed: int | None) -> ImageRecord:
            return ImageRecord(manifest.name, manifest.model_id, seed, applied_psi, shaped_by)

        def pictures() -> Iterator[Picture]:
            for index, image in enumerate(track(images, "images", source.count)):
                yield source.name(index), image, record(source.seed(index))

        sheet = ContactSheet(source.count, manifest.resolution) if grid is not None else None
        write_pictures(pictures(), out, encode, sheet)
        if sheet is not None and grid is not None:
            sheet.save(grid, record(None))
            click.echo(grid)


class _Source:
    """The latents of a job: seeds, or rows of w or ws."""

    def __init__(self, seeds: list[int] | None, kind: str = "seeds", rows: NDArray[np.float32] | None = None) -> None:
        self.seeds, self.kind, self.rows = seeds, kind, rows
        self.count = len(seeds) if seeds is not None else 0 if rows is None else len(rows)
        if self.count == 0:
            raise InvalidRequestError.of("--w", "the file holds no latents")

    def batches(self, generator: Generator, picture: PictureOptions) -> Iterator[Batch]:
        step = generator.session.preferred_batch_size
        for start in range(0, self.count, step):
            if self.seeds is not None:
                yield generator.latents.batch(picture, seeds=self.seeds[start : start + step])
            elif self.rows is not None:
                rows = self.rows[start : start + step]
                per_layer = self.kind == "ws"
                yield (
                    generator.latents.batch(picture, ws=rows) if per_layer else generator.latents.batch(picture, w=rows)
                )

    def seed(self, index: int) -> int | None:
        return None if self.seeds is None else self.seeds[index]

    def name(self, index: int) -> str:
        return f"w{index:04d}" if self.seeds is None else f"seed{self.seeds[index]:04d}"


def _images(generator: Generator, batches: Iterator[Batch], count: int) -> Iterator[NDArray[np.uint8]]:
    return islice((image for result in generator.render(batches) for image in result.images), count)
