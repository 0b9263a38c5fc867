"""The options about pictures: `generate` and `fetch` share all of them, `walk` those about truncation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from nonesuch.engine.encoder import EncodeOptions, ImageFormat
from nonesuch.engine.latent_pipeline import PictureOptions
from nonesuch.engine.latents import DEFAULT_PSI, check_psi
from nonesuch.engine.source import Seeds, Source
from nonesuch.engine.style_mix import StyleMix

from .contact_sheet import sheet_format
from .latent_file import read_latents
from .number_lists import Mix, SeedList
from .option_group import Option, option_group


@dataclass(frozen=True)
class PictureFlags:
    """The pictures that a command is asked for."""

    source: Source
    picture: PictureOptions  # noise_seed is not set; generate has an option for it
    encode: EncodeOptions
    out: Path  # the folder of the pictures
    grid: Path | None  # the file of the contact sheet


def picture_flags(default_format: ImageFormat) -> Option:
    """Add the options of `generate` and `fetch`; the command gets them as `flags`, a PictureFlags.

    Before the command runs, this raises:
        click.UsageError: neither --seeds nor --w is given, or both are.
        InvalidRequestError: a seed, psi or the quality is out of range, the file of --w has no latents, or the suffix
            of --grid is not a format.
    """
    return option_group(
        "flags",
        _read,
        click.option("--seeds", type=SeedList(), help="Seeds and ranges, such as 0-7,42."),
        *_truncation(f"Truncation, -2 to 2; {DEFAULT_PSI:g} unless --w is given."),
        click.option(
            "--out", "--outdir", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder."
        ),
        click.option("--grid", type=click.Path(dir_okay=False, path_type=Path), help="Also write a contact sheet."),
        click.option(
            "--format",
            "format_name",
            type=click.Choice([*(member.value for member in ImageFormat), "jpg"]),
            default=default_format.value,
            show_default=True,
            help="Image format.",
        ),
        click.option("--quality", type=int, help="1 to 100, for JPEG and WebP.  [default: 90]"),
        click.option(
            "--w",
            "--projected-w",
            "w_file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="File of w or ws: .npy or .npz.",
        ),
        click.option(
            "--mix", "mixing", type=Mix(), multiple=True, help="Styles from another seed, such as 42:coarse or 42:0-3."
        ),
        click.option(
            "--translate", type=(float, float), help="Move the picture by X Y, in its widths; StyleGAN3 only."
        ),
        click.option("--rotate", "rotate_degrees", type=float, help="Turn the picture, in degrees; StyleGAN3 only."),
    )


def truncation_flags(psi_help: str) -> Option:
    """Add --psi, --cutoff and --class; the command gets them as `picture`, PictureOptions. psi is not checked here."""
    return option_group("picture", _read_truncation, *_truncation(psi_help))


def _truncation(psi_help: str) -> tuple[Option, ...]:
    return (
        click.option("--psi", "--trunc", type=float, help=psi_help),
        click.option("--cutoff", type=int, help="Truncate only this many first layers."),
        click.option("--class", "class_index", type=int, help="Class, for models that have classes."),
    )


def _read_truncation(psi: float | None, cutoff: int | None, class_index: int | None) -> PictureOptions:
    return PictureOptions(psi, cutoff, class_index)


def _read(
    *,
    seeds: list[int] | None,
    w_file: Path | None,
    psi: float | None,
    cutoff: int | None,
    class_index: int | None,
    mixing: tuple[StyleMix, ...],
    translate: tuple[float, float] | None,
    rotate_degrees: float | None,
    out: Path,
    grid: Path | None,
    format_name: str,
    quality: int | None,
) -> PictureFlags:
    source = _source(seeds, w_file)
    encode = EncodeOptions(ImageFormat.parse(format_name), quality)
    if psi is not None:
        check_psi(psi)
    if grid is not None:
        sheet_format(grid)
    picture = PictureOptions(psi, cutoff, class_index, mixing, translate=translate, rotate_degrees=rotate_degrees)
    return PictureFlags(source, picture, encode, out, grid)


def _source(seeds: list[int] | None, w_file: Path | None) -> Source:
    if seeds is not None and w_file is None:
        return Seeds(seeds)
    if w_file is not None and seeds is None:
        return read_latents(w_file)
    raise click.UsageError("give --seeds, such as --seeds 0-7, or --w FILE")
