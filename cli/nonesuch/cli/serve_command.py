"""`nonesuch serve`: models over gRPC until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from nonesuch.engine.errors import DeviceLostError, InvalidRequestError
from nonesuch.engine.generator import Generator
from nonesuch.server.core.open_model import open_generator
from nonesuch.server.settings import ModelSettings, ServerSettings

from .prepare import prepare
from .server_options import chosen_settings, server_options

_MAX_PORT = 65535
_OTHER_ADDRESSES = {"http": "web    http://{}/", "admin": "admin  {}", "metrics": "metrics http://{}/metrics"}
_PROGRAM = "from nonesuch.cli.main import main; main()"


@click.command(name="serve")
@server_options
@click.option("--check", is_flag=True, help="Check the settings, load the models, make an image of each, and exit.")
@click.option("--supervise", is_flag=True, help="Start the server again when it fails.")
def command(check: bool, supervise: bool, **flags: Any) -> None:
    """Serve models over gRPC; every setting can also be given in --config and in the environment."""
    settings = chosen_settings(flags)
    for name, address in (
        ("grpc", settings.grpc),
        ("http", settings.http),
        ("admin", settings.admin),
        ("metrics", settings.metrics),
    ):
        if address is not None:
            _check_address(name, address)
    from nonesuch.server.observing.logs import configure_logs

    configure_logs(json=settings.log_json, level=settings.log_level)
    if supervise:
        from nonesuch.server.supervisor import Supervisor

        arguments = [argument for argument in sys.argv[1:] if argument != "--supervise"]
        sys.exit(Supervisor([sys.executable, "-c", _PROGRAM, *arguments]).run())
    for model in settings.models:
        prepare(model.model)
    if check:
        _self_check(settings)
    else:
        _serve(settings, flags)


def _serve(settings: ServerSettings, flags: dict[str, Any]) -> None:
    from nonesuch.server.serve import new_event_loop, serve
    from nonesuch.server.server import Server

    def on_ready(server: Server) -> None:
        for model in server.registry.loaded:
            click.echo(f"serving {model.name}, {model.manifest.resolution}x{model.manifest.resolution}")
        click.echo(f"gRPC   {server.address}")
        for setting, text in _OTHER_ADDRESSES.items():
            if setting in server.addresses:
                click.echo(text.format(server.addresses[setting]))
        click.echo(f"try    {_program()} fetch --server {server.address} --seeds 0-7 --out faces")
        sys.stdout.flush()

    try:
        with asyncio.Runner(loop_factory=lambda: new_event_loop(uvloop=settings.uvloop)) as runner:
            runner.run(serve(settings, on_ready, open_model=_open_model, read_again=lambda: chosen_settings(flags)))
    except DeviceLostError as error:
        click.echo(f"nonesuch: {error.message}; start the server again, or let --supervise do it", err=True)
        sys.stdout.flush()
        os._exit(1)  # the thread that hangs in the runtime would block any other exit


def _self_check(settings: ServerSettings) -> None:
    """Start a server as for serving, and make an image of each model."""
    from nonesuch.server.self_check import self_check

    async def run() -> None:
        async for line in self_check(settings, open_model=_open_model):
            click.echo(line)

    asyncio.run(run())


def _open_model(model: ModelSettings, max_batch_size: int) -> Generator:
    prepare(model.model)  # a model that was added to the settings later is not prepared yet
    generator = open_generator(model, max_batch_size)
    click.echo(generator.backend_reason, err=True)
    return generator


def _check_address(name: str, address: str) -> None:
    if address.startswith("unix:") and name not in {"http", "metrics"}:
        return
    # gRPC would listen on port 443 if the address has no port, and on the port modulo 65536 if it is too high.
    host, _, port = address.rpartition(":")
    if not (host and port.isascii() and port.isdecimal() and int(port) <= _MAX_PORT):
        raise InvalidRequestError.of(
            name,
            f"{address!r} is not an address; write HOST:PORT, with a port of 0 to {_MAX_PORT}, such as 127.0.0.1:0",
        )


def _program() -> str:
    """The name or path that this command was called by, so that a printed line can be copied."""
    called = sys.argv[0]
    on_path = shutil.which("nonesuch")
    if Path(called).name != "nonesuch" or (on_path and Path(on_path).resolve() == Path(called).resolve()):
        return "nonesuch"
    return shlex.quote(os.path.relpath(called) if Path(called).resolve().is_relative_to(Path.cwd()) else called)
