"""`nonesuch`: finds the command, runs it, and turns every NonesuchError into one line and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage. Commands are imported when they are called, so that `--help` is quick.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from nonesuch.engine import __version__
from nonesuch.engine.errors import FieldViolation, InvalidRequestError, NonesuchError

_COMMANDS = {
    "models": ("models_command", "List, fetch and describe models."),
    "export": ("export_command", "Turn a model into an ONNX artifact."),
    "build": ("build_command", "Turn a model into TensorRT plans."),
    "generate": ("generate_command", "Write images, on this machine."),
    "walk": ("walk_command", "Write an animation from seed to seed."),
    "directions": ("directions_command", "Find directions along which pictures change the most."),
    "serve": ("serve_command", "Serve a model over gRPC."),
    "admin": ("admin_command", "List, load and unload the models of a running server."),
    "key": ("key_command", "Make an API key for a server."),
    "fetch": ("fetch_command", "Write images, from a server."),
    "tune": ("tune_command", "Find the fastest settings for a model on this machine."),
    "bench": ("bench_command", "Measure this machine, compare results, write reports."),
    "doctor": ("doctor_command", "Check this machine, and say how to get missing parts."),
}


# The options of the engine's fields; the names of all others differ by dashes only.
_OPTIONS = {
    "class_index": "class",
    "group": "mix",
    "layers": "mix",
    "address": "server",
    "max_batch_size": "batch",
    "batch_sizes": "batch",
    "mixing": "mix",
    "seed": "seeds",
    "transform": "translate or --rotate",
    "ws": "w",
}


class _LazyGroup(click.Group):
    """A group that knows the names of its commands, and imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"nonesuch.cli.{_COMMANDS[cmd_name][0]}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nonesuch")
def cli() -> None:
    """A StyleGAN inference engine: checkpoint to ONNX, served over gRPC."""


def main() -> None:
    """The console script."""
    try:
        cli(prog_name="nonesuch", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.UsageError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        sys.exit(_fail(error.format_message(), error.exit_code))
    except click.Abort:
        sys.exit(_fail("interrupted", 1))
    except InvalidRequestError as error:
        sys.exit(_fail("; ".join(map(_option_message, error.violations)), 2))
    except NonesuchError as error:
        sys.exit(_fail(error.message, 1))
    except BrokenPipeError:
        # The reader of the output is gone (`| head`); the rest of the buffer cannot be written either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        sys.exit(_fail(f"{error.filename or 'a file'}: {error.strerror or error}", 1))


def _option_message(violation: FieldViolation) -> str:
    """A violation with the name of the user's option in place of the engine's field."""
    name = violation.field.rpartition(".")[2].partition("[")[0]  # without the path and the index of a row
    return f"--{_OPTIONS.get(name, name).replace('_', '-')}: {violation.description}"


def _fail(message: str, code: int) -> int:
    click.echo(f"nonesuch: {' '.join(message.split())}", err=True)
    return code
