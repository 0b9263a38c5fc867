"""An environment of its own for each peer, made once and kept in the user's home.

$NONESUCH_HOME/cache/peers/<name>-<hash of the pins>/

pip runs with the user's own configuration. A peer whose pins the running environment meets needs no environment.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from filelock import FileLock

from nonesuch.engine.home import Home

from ..measurement import BenchmarkError

__all__ = ["peer_python", "read_pins"]

REQUIREMENTS = Path(__file__).parent / "requirements"
MADE = "made.txt"
"""Written last, so that an environment that was interrupted is not taken for one."""
INSTALL_TIMEOUT_S = 1200


def read_pins(name: str) -> list[str]:
    """The exact requirements of a peer, `package==version`, the peer's own first.

    A package without a version in `requirements/<name>.txt` takes the version that is installed here, so that numpy,
    Pillow and ONNX Runtime are the same for all.

    Raises:
        BenchmarkError: such a package is not installed here.
    """
    pins = []
    for package in (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").split():
        if "==" in package:
            pins.append(package)
            continue
        try:
            pins.append(f"{package}=={metadata.version(package)}")
        except metadata.PackageNotFoundError as error:
            raise BenchmarkError(
                f"{name} is compared with the same {package} as nonesuch, and there is none here; install it with: "
                f"pip install {package}",
            ) from error
    return pins


def peer_python(name: str, pins: Sequence[str], home: Home) -> Path:
    """The interpreter of an environment that meets the pins: the running one, one made before, or a new one.

    Raises:
        BenchmarkError: the pins do not install; the message ends with pip's.
    """
    if _met(pins):
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


def _met(pins: Sequence[str]) -> bool:
    try:
        return all(metadata.version(name) == version for name, _, version in (pin.partition("==") for pin in pins))
    except metadata.PackageNotFoundError:
        return False


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
