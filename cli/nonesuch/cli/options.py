"""Options that several commands share, under the names that users of the reference scripts know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from nonesuch.engine.image_format import ImageFormat
from nonesuch.engine.latents import DEFAULT_PSI

from .seeds import SeedList

_F = TypeVar("_F", bound=Callable[..., Any])


def _stack(*options: Callable[[_F], _F]) -> Callable[[_F], _F]:
    def decorate(function: _F) -> _F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def picture_options(default_format: ImageFormat) -> Callable[[_F], _F]:
    """What to make and how to write it: `generate` and `fetch`."""
    return _stack(
        click.option("--seeds", type=SeedList(), help="Seeds and ranges, such as 0-7,42."),
        click.option("--psi", "--trunc", type=float, help=f"Truncation, -2 to 2; {DEFAULT_PSI:g} unless --w is given."),
        click.option("--cutoff", type=int, help="Truncate only the first so many layers."),
        click.option("--class", "class_index", type=int, help="Class, for models that have classes."),
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
    )


def backend_options(function: _F) -> _F:
    """What to run on: `generate`, `walk` and `directions`."""
    options: Callable[[_F], _F] = _stack(
        click.option("--model", default="faces", show_default=True, help="A model's name, or an artifact's folder."),
        click.option("--backend", default="auto", show_default=True, help="A backend's name; see nonesuch doctor."),
        click.option("--device", default="auto", show_default=True, help="The backend's device."),
        click.option("--threads", type=int, help="Threads of the session.  [default: as tuned, else the runtime's]"),
        click.option("--lanes", type=int, help="Images of a batch rendered side by side.  [default: as tuned, else 1]"),
        click.option(
            "--batch", "max_batch_size", type=int, default=8, show_default=True, help="Images in a run at most."
        ),
        click.option(
            "--noise-mode", type=click.Choice(["const", "none", "random"]), help="Choose a variant by its noise."
        ),
        click.option("--precision", type=click.Choice(["fp32", "fp16"]), help="Choose a variant by its precision."),
        click.option("--upsampling", help="Choose a variant by its up-sampling.  [default: as tuned, else its first]"),
        click.option(
            "--plans",
            type=click.Path(file_okay=False, path_type=Path),
            help="TensorRT plans of nonesuch build --into.  [default: the cache]",
        ),
        click.option("--cuda-graphs", is_flag=True, help="Launch each batch of a TensorRT plan as a CUDA graph."),
        click.option("--deterministic", is_flag=True, help="Pad every run to the full batch: one shape of arithmetic."),
    )
    return options(function)
