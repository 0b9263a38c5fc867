"""`nonesuch key`: a new API key, and its table for the configuration of a server."""

from __future__ import annotations

import json

import click

from nonesuch.server.access.api_keys import hash_of_key, new_key
from nonesuch.server.settings import KeySettings


@click.command(name="key")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(["generate", "bulk", "admin"]), default=("generate",),
    show_default=True, help="Calls that it allows; can be given again. bulk: streams, walks and bulk priority.",
)  # fmt: skip
@click.option("--images-per-s", type=float, help="Max images per second with this key.  [default: the server's]")
@click.option("--burst-images", type=int, help="Max images at once with this key.  [default: the server's]")
def command(name: str, scopes: tuple[str, ...], images_per_s: float | None, burst_images: int | None) -> None:
    """Make an API key for NAME: print the key on standard error, and its table for --config on standard output.

    The key is printed once and not stored; the table has its hash. On SIGHUP a server reads its keys again.
    """
    key = new_key()
    given = {"images_per_s": images_per_s, "burst_images": burst_images}
    limits = {limit: value for limit, value in given.items() if value is not None}
    try:
        KeySettings.model_validate({"name": name, "sha256": hash_of_key(key), "scopes": scopes, **limits})
    except ValueError as error:
        raise click.UsageError(f"{name!r} or a limit is not valid: {str(error).splitlines()[2].strip()}") from error
    click.echo(key, err=True)
    lines = [f'name = "{name}"', f'sha256 = "{hash_of_key(key)}"', f"scopes = {json.dumps(scopes)}"]
    click.echo("\n".join(["[[keys]]", *lines, *(f"{limit} = {value}" for limit, value in limits.items())]))
