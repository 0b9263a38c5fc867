"""`nonesuch admin`: lists, loads and unloads the models of a running server, and drains it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from nonesuch.client import AdminClient, ClientError, ModelState

_MIB = 1 << 20


@click.group(name="admin")
@click.option("--server", required=True, help="The admin address of a server: HOST:PORT or unix:PATH.")
@click.pass_context
def command(context: click.Context, server: str) -> None:
    """Ask the admin service of --server. An API key, for servers that require one, is read from NONESUCH_API_KEY."""
    context.obj = server


@command.command(name="status")
@click.pass_obj
def status(server: str) -> None:
    """All models of the configuration."""
    with _client(server) as client:
        for state in client.models():
            click.echo(_state_line(state))


@command.command(name="load")
@click.argument("model", default="")
@click.pass_obj
def load(server: str, model: str) -> None:
    """Load MODEL, and return when it is ready."""
    with _client(server) as client:
        click.echo(_state_line(client.load(model)))


@command.command(name="unload")
@click.argument("model", default="")
@click.pass_obj
def unload(server: str, model: str) -> None:
    """Unload MODEL from its device once its calls are done."""
    with _client(server) as client:
        click.echo("unloaded" if client.unload(model) else "it was not loaded")


@command.command(name="reload")
@click.argument("model", default="")
@click.pass_obj
def reload(server: str, model: str) -> None:
    """Load MODEL again, without refusing calls."""
    with _client(server) as client:
        click.echo(_state_line(client.reload(model)))


@command.command(name="drain")
@click.pass_obj
def drain(server: str) -> None:
    """Let the server finish its calls and exit."""
    with _client(server) as client:
        client.drain()


@contextmanager
def _client(server: str) -> Iterator[AdminClient]:
    try:
        with AdminClient(server, api_key=os.environ.get("NONESUCH_API_KEY")) as client:
            yield client
    except ClientError as error:
        raise click.ClickException(str(error)) from error


def _state_line(state: ModelState) -> str:
    if not state.loaded or state.model is None:
        return f"{state.name}: not loaded"
    use = "in use" if state.in_use else "idle"
    runs = ", ".join(f"{size}: {run_ms:.0f} ms" for size, run_ms in state.model.run_ms.items())
    return (
        f"{state.name}: {use}, {state.waiting} waiting, {state.memory_bytes / _MIB:.0f} MiB, build "
        f"{state.model.build_id}, {state.model.backend}; a run by batch size {runs}"
    )
