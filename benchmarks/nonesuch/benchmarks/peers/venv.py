"""An environment of its own for each server, made once and kept in the user's home.

$NONESUCH_HOME/cache/peers/<name>-<hash of the pins>/

pip runs with the user's own configuration. Where the running environment meets the pins, it is used.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from filelock import FileLock

from nonesuch.engine.home import Home

from ..result import BenchmarkError

REQUIREMENTS = Path(__file__).parent / "requirements"
MADE = "made.txt"  # written last, so that an environment that was interrupted is not taken for one
INSTALL_TIMEOUT_S = 1200


def read_pins(name: str) -> list[str]:
    """The exact requirements of a server, `package==version`, its own first.

    A package without a version in `requirements/<name>.txt` takes the version that is installed here, so that numpy,
    Pillow and ONNX Runtime are the same for all. Raises BenchmarkError where such a package is not installed here.
    """
    packages = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").split()
    try:
        return [package if "==" in package else f"{package}=={metadata.version(package)}" for package in packages]
    except metadata.PackageNotFoundError as error:
        raise BenchmarkError(
            f"{name} is compared with the same {error.name} as nonesuch, and there is none here; install it with: "
            f"pip install {error.name}"
        ) from error


def python_with(name: str, pins: Sequence[str], home: Home) -> Path:
    """The interpreter of an environment that meets the pins: the running one, one made before, or a new one.

    Raises BenchmarkError where the pins do not install; the message ends with pip's.
    """
    with suppress(metadata.PackageNotFoundError):
        if all(metadata.version(pin.partition("==")[0]) == pin.partition("==")[2] for pin in pins):
            return Path(sys.executable)
    identity = "\n".join([platform.python_version(), *pins])
    root = home.root / "cache" / "peers"
    folder = root / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f"{folder.name}.lock"):
        if not (folder / MADE).is_file():
            try:
                # Without a pip of its own: unpacking one takes longer than some installations.
                _run(name, [sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)])
                pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
                _run(name, [*pip, "install", *pins])
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            (folder / MADE).write_text(identity + "\n", encoding="utf-8")
    return python


def _run(name: str, command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=INSTALL_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchmarkError(f"{name} does not install: {error}") from error
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR:")]
        raise BenchmarkError(f"{name} does not install: {(errors or lines or ['pip says nothing'])[-1]}")
