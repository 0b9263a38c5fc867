from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import click
import pytest

from nonesuch.cli.main import cli
from nonesuch.engine import __version__

Call = Callable[..., subprocess.CompletedProcess[str]]

COMMANDS = cli.list_commands(click.Context(cli))
HEAVY = ["numpy", "PIL", "torch", "onnx", "onnxruntime", "grpc", "google.protobuf", "nonesuch.server", "tqdm"]


def test_help_and_version_come_from_the_installed_command(run: Call) -> None:
    shown = run("--help")
    assert shown.returncode == 0
    assert shown.stderr == ""
    listed = [line.split()[0] for line in shown.stdout.split("Commands:\n")[1].splitlines()]
    assert listed == COMMANDS
    assert {"models", "export", "generate", "serve", "fetch", "doctor"} <= set(listed)
    version = run("--version")
    assert (version.returncode, version.stdout, version.stderr) == (0, f"nonesuch, version {__version__}\n", "")


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_loads_nothing_heavy(option: str) -> None:
    code = (
        "import sys\n"
        "from nonesuch.cli.main import main\n"
        f"sys.argv = ['nonesuch', {option!r}]\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code\n"
        f"print('heavy:', *[name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy:"


@pytest.mark.parametrize(
    "command", [[name] for name in COMMANDS] + [["models", name] for name in ("list", "pull", "show")]
)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help(call: Call, command: list[str], option: str) -> None:
    shown = call(*command, option)
    assert shown.returncode == 0
    assert shown.stderr == ""
    assert shown.stdout.startswith(f"Usage: nonesuch {' '.join(command)} ")
    assert "..." not in shown.stdout.partition("Commands:\n")[2]  # no summary is cut short


@pytest.mark.parametrize("arguments", [[], ["models"]])
def test_without_a_command_there_is_help(call: Call, arguments: list[str]) -> None:
    shown = call(*arguments)  # on standard error and with exit code 2 since click 8.2
    assert "Commands:" in shown.stdout + shown.stderr


def test_an_unknown_command_is_named(call: Call) -> None:
    shown = call("frobnicate")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.splitlines()[-1] == "Error: No such command 'frobnicate'."
