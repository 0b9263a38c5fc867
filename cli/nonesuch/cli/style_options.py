"""Options that shape the picture beyond its seed, for the commands that write images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from .mixes import Mix

_F = TypeVar("_F", bound=Callable[..., Any])


def style_options(function: _F) -> _F:
    """Styles from a file, style mixing, and where the picture is moved."""
    for option in (
        click.option("--rotate", "rotate_degrees", type=float, help="Turn the picture, in degrees; StyleGAN3 only."),
        click.option("--translate", type=(float, float), help="Move the picture: X Y in its widths; StyleGAN3 only."),
        click.option(
            "--mix", "mixing", type=Mix(), multiple=True, help="Styles from another seed, such as 42:coarse or 42:0-3."
        ),
        click.option(
            "--w",
            "--projected-w",
            "w_file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="w, ws: .npy, .npz.",
        ),
    ):
        function = option(function)
    return function
