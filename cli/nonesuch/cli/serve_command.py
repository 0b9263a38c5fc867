"""`nonesuch serve`: a model over gRPC until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from pathlib import Path

import click

from nonesuch.engine.errors import FieldViolation, InvalidRequestError
from nonesuch.server.settings import ServerSettings

from .options import backend_options
from .prepare import open_generator
from .session_choice import session_options

__all__ = ["command"]

_MAX_PORT = 65535


@click.command(name="serve")
@click.option(
    "--grpc",
    "grpc_address",
    default=ServerSettings.grpc_address,
    show_default=True,
    help="Where to listen; port 0 takes a free one. There is no TLS and no authentication yet.",
)
@backend_options
@click.option("--queue-limit", default=ServerSettings.queue_limit, show_default=True, help="Images that may wait.")
@click.option(
    "--queue-delay-ms",
    default=ServerSettings.queue_delay_ms,
    show_default=True,
    help="How long a batch may wait for company while the device is idle.",
)
@click.option(
    "--min-batch-gain",
    default=ServerSettings.min_batch_gain,
    show_default=True,
    help="Grow batches while doubling saves this share of the time per image; 0: always to --batch.",
)
@click.option(
    "--max-images-per-stream",
    default=ServerSettings.max_images_per_stream,
    show_default=True,
    help="Longer streams are refused.",
)
@click.option(
    "--drain-delay-s",
    default=ServerSettings.drain_delay_s,
    show_default=True,
    help="After SIGTERM: how long to say NOT_SERVING and still take calls.",
)
@click.option(
    "--drain-s", default=ServerSettings.drain_s, show_default=True, help="To finish accepted calls, at the end."
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.option("--log-json/--log-text", default=None, help="Log format.  [default: text on a terminal, else JSON]")
def command(
    grpc_address: str,
    model: str,
    queue_limit: int,
    queue_delay_ms: float,
    min_batch_gain: float,
    max_images_per_stream: int,
    drain_delay_s: float,
    drain_s: float,
    log_level: str,
    log_json: bool | None,
    **backend: object,
) -> None:
    """Serve --model over gRPC."""
    _check_address(grpc_address)
    from nonesuch.server.grpc_server import GrpcServer
    from nonesuch.server.logs import configure_logs
    from nonesuch.server.serve import serve

    # Idle threads that busy-wait would take cores from the event loop and the encoders.
    options = session_options(backend, spinning=False)
    settings = ServerSettings(
        grpc_address=grpc_address,
        max_batch_size=options.max_batch_size,
        min_batch_gain=min_batch_gain,
        queue_delay_ms=queue_delay_ms,
        queue_limit=queue_limit,
        max_images_per_stream=max_images_per_stream,
        drain_delay_s=drain_delay_s,
        drain_s=drain_s,
    )
    configure_logs(json=log_json, level=log_level)
    generator = open_generator(model, str(backend["backend"]), options)
    click.echo(generator.backend_reason, err=True)

    def on_ready(server: GrpcServer) -> None:
        manifest = generator.manifest
        click.echo(f"serving {manifest.name}, {manifest.resolution}x{manifest.resolution}")
        click.echo(f"gRPC   {server.address}")
        click.echo(f"try    {_program()} fetch --server {server.address} --seeds 0-7 --out faces")
        sys.stdout.flush()

    asyncio.run(serve(generator, settings, on_ready))


def _check_address(address: str) -> None:
    # gRPC would listen on port 443 where none is given, and on the rest of a division by 65536 where it is too high.
    host, _, port = address.rpartition(":")
    if not (host and port.isascii() and port.isdecimal() and int(port) <= _MAX_PORT):
        problem = f"{address!r} is no address; write HOST:PORT, with a port of 0 to {_MAX_PORT}, such as 127.0.0.1:0"
        raise InvalidRequestError(FieldViolation("grpc_address", problem))


def _program() -> str:
    """How this command was called, so that the line it prints can be copied."""
    called = sys.argv[0]
    on_path = shutil.which("nonesuch")
    if Path(called).name != "nonesuch" or (on_path and Path(on_path).resolve() == Path(called).resolve()):
        return "nonesuch"
    return shlex.quote(os.path.relpath(called) if Path(called).resolve().is_relative_to(Path.cwd()) else called)
