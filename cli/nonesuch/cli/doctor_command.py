"""`nonesuch doctor`: the models, GPUs, backends and packages on this machine, and how to get missing ones."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from importlib.util import find_spec

import click

from nonesuch.engine import __version__
from nonesuch.engine.artifact import MANIFEST_FILE
from nonesuch.engine.backends.registry import AUTO, choose_backend, probe_all
from nonesuch.engine.cuda_driver import find_driver
from nonesuch.engine.errors import BackendUnavailableError
from nonesuch.engine.home import Home

from .prepare import missing_export_packages

_PACKAGES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt-cu13",
    "tensorrt-rtx-cu13",
    "cuda-core",
    "openvino",
    "numpy",
    "pillow",
    "isal",
    "grpcio",
    "protobuf",
    "onnx",
    "onnx-ir",
    "torch",
)


@click.command(name="doctor")
def command() -> None:
    """Say what works here; the exit code is 1 if no backend can generate."""
    home = Home.default()
    click.echo(
        f"nonesuch {__version__}, Python {platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores"
    )
    click.echo(f"home      {home.root}")
    models = sorted(path.parent.name for path in home.artifacts.glob(f"*/{MANIFEST_FILE}"))
    click.echo(f"models    {', '.join(models) or 'none exported yet; nonesuch export faces'}")
    driver = find_driver()
    gpus = ", ".join(f"cuda:{gpu.ordinal} {gpu.name} (SM {gpu.sm})" for gpu in driver.gpus)
    click.echo(f"gpu       {f'{gpus}; driver for CUDA {driver.cuda}' if driver.usable else driver.problem}")
    for name, probe in probe_all().items():
        click.echo(f"backend   {name}: {'ready' if probe.usable else 'missing'} ({probe.detail})")
    versions = {package: _version(package) for package in _PACKAGES}
    if versions["onnxruntime"] and versions["onnxruntime-gpu"]:
        click.echo(
            "problem   onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files; "
            "uninstall both, then install one"
        )
    missing = missing_export_packages()
    click.echo(f"export    {'missing ' + ', '.join(missing) + '; nonesuch[cpu,export]' if missing else 'ready'}")
    pip = "ready" if find_spec("pip") else "no pip in this environment; use models pull --from FILE"
    click.echo(f"download  {pip}")
    click.echo(f"packages  {', '.join(f'{name} {version}' for name, version in versions.items() if version)}")
    try:
        click.echo(f"auto      {choose_backend(AUTO).reason}")
    except BackendUnavailableError as error:
        click.echo(f"auto      {error.message}")
        sys.exit(1)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
