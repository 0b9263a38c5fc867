"""`nonesuch generate`: images on this machine; the device, the encoders and the disk work at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import islice
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.encoder import EncodeOptions, EncoderPool
from nonesuch.engine.errors import FieldViolation, InvalidRequestError
from nonesuch.engine.generator import Generator
from nonesuch.engine.image_format import ImageFormat
from nonesuch.engine.latents import DEFAULT_PSI, check_psi
from nonesuch.engine.provenance import ImageRecord
from nonesuch.engine.session import SessionOptions

from .contact_sheet import ContactSheet, sheet_format
from .latent_file import read_latents
from .options import backend_options, picture_options
from .prepare import open_generator
from .progress import track

__all__ = ["command"]

_MAX_UNWRITTEN = 32
"""Encoded or encoding images that may wait for the disk."""


@click.command(name="generate")
@picture_options(ImageFormat.PNG)
@click.option(
    "--w", "--projected-w", "w_file", type=click.Path(dir_okay=False, path_type=Path), help="w or ws: .npy, .npz."
)
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
    model: str,
    backend: str,
    device: str,
    threads: int | None,
    max_batch_size: int,
    deterministic: bool,
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
    options = SessionOptions(device, max_batch_size, deterministic, threads)
    with open_generator(model, backend, options) as generator:
        click.echo(generator.backend_reason, err=True)
        applied_psi = psi if psi is not None else DEFAULT_PSI if w_file is None else 1.0
        job = _Job(generator, source, applied_psi, cutoff, class_index, encode, out, grid)
        job.run()


class _Source:
    """The latents of a job: seeds, or rows of w or ws."""

    def __init__(self, seeds: list[int] | None, kind: str = "seeds", rows: NDArray[np.float32] | None = None) -> None:
        self.seeds, self.kind, self.rows = seeds, kind, rows
        self.count = len(seeds) if seeds is not None else 0 if rows is None else len(rows)
        if self.count == 0:
            raise InvalidRequestError(FieldViolation("--w", "the file holds no latents"))

    def styles(
        self, generator: Generator, psi: float, cutoff: int | None, class_index: int | None
    ) -> Iterator[NDArray[np.float32]]:
        step = generator.session.preferred_batch_size
        shared = {"psi": psi, "cutoff": cutoff, "class_index": class_index}
        for start in range(0, self.count, step):
            chunk = (self.seeds if self.rows is None else self.rows)[start : start + step]  # type: ignore[index]
            yield generator.styles(**{self.kind: chunk}, **shared)  # type: ignore[arg-type]

    def name(self, index: int) -> str:
        return f"w{index:04d}" if self.seeds is None else f"seed{self.seeds[index]:04d}"


class _Job:
    """One run of the command."""

    def __init__(
        self,
        generator: Generator,
        source: _Source,
        psi: float,
        cutoff: int | None,
        class_index: int | None,
        encode: EncodeOptions,
        out: Path,
        grid: Path | None,
    ) -> None:
        self.generator, self.source, self.psi, self.encode = generator, source, psi, encode
        self.out, self.grid = out, grid
        self.styles = source.styles(generator, psi, cutoff, class_index)
        self.sheet = ContactSheet(source.count, generator.manifest.resolution) if grid is not None else None

    def run(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        unwritten: deque[tuple[Path, Future[bytes]]] = deque()
        with EncoderPool() as pool:
            for index, image in enumerate(track(self._images(), "images", self.source.count)):
                if self.sheet is not None:
                    self.sheet.place(index, image)
                path = self.out / f"{self.source.name(index)}{self.encode.format.suffix}"
                unwritten.append((path, pool.submit(image, self.encode, self._record(index))))
                while len(unwritten) > _MAX_UNWRITTEN:
                    self._write(*unwritten.popleft())
            for item in unwritten:
                self._write(*item)
        if self.sheet is not None and self.grid is not None:
            self.sheet.save(self.grid, self._record(None))
            click.echo(self.grid)

    def _images(self) -> Iterator[NDArray[np.uint8]]:
        results = self.generator.render(self.styles)
        return islice((image for result in results for image in result.images), self.source.count)

    def _record(self, index: int | None) -> ImageRecord:
        manifest = self.generator.manifest
        seeds = self.source.seeds
        seed = seeds[index] if seeds is not None and index is not None else None
        return ImageRecord(manifest.name, manifest.model_id, seed, self.psi)

    @staticmethod
    def _write(path: Path, data: Future[bytes]) -> None:
        path.write_bytes(data.result())
        click.echo(path)
