"""`nonesuch tune`: measures the fastest settings for a model on this machine, and keeps them."""

from __future__ import annotations

import click

from nonesuch.benchmarks.result import Request
from nonesuch.benchmarks.tuning import Tuner

from .prepare import prepare


@click.command(name="tune")
@click.argument("model", default="faces")
@click.option("--quick", is_flag=True, help="Fewer rounds.")
@click.option("--rounds", type=click.IntRange(1, 1000), help="Runs of each candidate.  [default: 21; quick: 9]")
@click.option("--backend", "backends", multiple=True, help="Measure only this backend; can be given again.")
@click.option("--dry-run", is_flag=True, help="Measure and print, but keep nothing.")
def command(model: str, quick: bool, rounds: int | None, backends: tuple[str, ...], dry_run: bool) -> None:
    """Measure backends, graph forms, threads and lanes for MODEL (a name, or an artifact's folder).

    The result is kept for this machine in $NONESUCH_HOME/cache and used by every command that runs the model here;
    the artifact is not touched.
    """
    prepare(model)
    request = Request(model, quick, backends, rounds, lambda line: click.echo(line, err=True))
    tuner = Tuner(request)
    tuning = tuner.tune()
    for settings in tuning.settings:
        lanes = f"{settings.lanes} {'lane' if settings.lanes == 1 else 'lanes'}"
        click.echo(
            f"{settings.backend}: {settings.image_ms:.0f} ms an image alone, {settings.batch_image_ms:.0f} ms in a "
            f"batch ({settings.upsampling}, {settings.threads} threads, {lanes}; {settings.identity})"
        )
    if not dry_run:
        click.echo(tuning.save(tuner.artifact))
