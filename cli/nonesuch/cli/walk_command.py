"""`nonesuch walk`: an animation from seed to seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from nonesuch.engine.latent_pipeline import PictureOptions
from nonesuch.engine.provenance import ImageRecord
from nonesuch.engine.source import Seeds
from nonesuch.engine.walk import Interpolation, Walk, walk_frames

from .animation import check_animation, write_animation
from .backend_flags import BackendFlags, backend_flags
from .number_lists import SeedList
from .picture_flags import truncation_flags
from .progress import track


@click.command(name="walk")
@click.option("--seeds", type=SeedList(), required=True, help="Key frames, such as 1,2,3.")
@click.option(
    "--frames", "frames_per_step", default=60, show_default=True, help="Frames from one key frame to the next."
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="FILE.webp, .gif or .mp4.")
@click.option("--fps", type=click.IntRange(1, 120), default=30, show_default=True, help="Frames per second.")
@click.option(
    "--interpolation",
    type=click.Choice([member.value for member in Interpolation]),
    default=Interpolation.LINEAR_W.value,
    show_default=True,
    help="Path from one key frame to the next.",
)
@click.option("--closed", is_flag=True, help="Return to the first key frame, so that the animation loops.")
@truncation_flags(f"Truncation, -2 to 2.  [default: {Seeds.default_psi:g}]")
@backend_flags
def command(
    seeds: list[int],
    frames_per_step: int,
    out: Path,
    fps: int,
    interpolation: str,
    closed: bool,
    picture: PictureOptions,
    backend: BackendFlags,
) -> None:
    """Write an animation that walks through --seeds into the file --out."""
    walk = Walk([Seeds([seed]) for seed in seeds], frames_per_step, Interpolation(interpolation), closed)
    count = walk.frame_count
    with backend.open() as generator:
        manifest = generator.manifest
        check_animation(out, count, manifest.resolution)
        click.echo(generator.backend_reason, err=True)
        frames = walk_frames(generator.latents, walk, picture)
        images = track(generator.stream(frames.source, replace(picture, psi=frames.psi)), "frames", count)
        write_animation(
            out, images, fps, ImageRecord(manifest.name, manifest.model_id, None, frames.psi, picture.describe())
        )
        click.echo(out)
