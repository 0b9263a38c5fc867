"""Writes the images of a command while the next ones are made, with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.encoder import EncodeOptions, EncoderPool
from nonesuch.engine.provenance import ImageRecord

from .contact_sheet import ContactSheet

_MAX_UNWRITTEN = 32
"""Max number of images that are being encoded or wait for the disk."""

Picture = tuple[str, NDArray[np.uint8], ImageRecord]
"""A file name without suffix, the pixels uint8 [H, W, C], and their provenance."""


def write_pictures(
    pictures: Iterable[Picture], out: Path, options: EncodeOptions, sheet: ContactSheet | None = None
) -> None:
    """Write each picture into the folder `out`, print its path once it is written, and place it on the sheet."""
    out.mkdir(parents=True, exist_ok=True)
    unwritten: deque[tuple[Path, Future[bytes]]] = deque()
    with EncoderPool() as pool:
        for index, (name, image, record) in enumerate(pictures):
            if sheet is not None:
                sheet.place(index, image)
            unwritten.append((out / f"{name}{options.format.suffix}", pool.submit(image, options, record)))
            while len(unwritten) > _MAX_UNWRITTEN:
                _write(*unwritten.popleft())
        for item in unwritten:
            _write(*item)


def _write(path: Path, data: Future[bytes]) -> None:
    path.write_bytes(data.result())
    click.echo(path)
