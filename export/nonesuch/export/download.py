"""Gets a catalogue file onto this machine: through the user's own pip, or from a file at hand. The hash decides.

A file appears under its name whole or not at all; a lock per file makes a second process wait and then find it there.
Wheels are only fetched, never installed or imported.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock

from nonesuch.engine.errors import DownloadError
from nonesuch.engine.home import Home

from .catalogue import PackageFile

__all__ = ["fetch_file", "file_at_hand"]


def file_at_hand(file: PackageFile, home: Home) -> Path | None:
    """The file in the user's home if it is there with the right hash, else None."""
    path = home.downloads / file.filename
    return path if path.is_file() and _sha256(path) == file.sha256 else None


def fetch_file(file: PackageFile, home: Home, *, source: Path | None = None, show_progress: bool = False) -> Path:
    """Make sure the file is in the user's home, and return its path.

    Args:
        file: what to get.
        home: where to keep it.
        source: a copy at hand, for machines without a network; None asks pip.
        show_progress: let pip draw its progress bar on standard error.

    Raises:
        DownloadError: pip cannot get it, the copy at hand is not readable, or the content is not what was published.
    """
    home.downloads.mkdir(parents=True, exist_ok=True)
    target = home.downloads / file.filename
    with FileLock(f"{target}.lock"):
        if file_at_hand(file, home):
            return target
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=home.downloads) as staging:
            if source is not None:
                fetched = _copy(source, Path(staging) / file.filename)
            else:
                fetched = _pip_download(file, Path(staging), show_progress)
            found = _sha256(fetched)
            if found != file.sha256:
                origin = source or f"pip's download of {file.requirement}"
                raise DownloadError(
                    f"{origin} is not the published {file.filename}: "
                    f"its sha256 is {found[:12]}…, not {file.sha256[:12]}…; it was not kept"
                )
            os.replace(fetched, target)
    return target


def _copy(source: Path, target: Path) -> Path:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise DownloadError(f"{source} cannot be read ({error.strerror or error})") from error
    return target


def _pip_download(file: PackageFile, folder: Path, show_progress: bool) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    command += ["--disable-pip-version-check", "--progress-bar", "on" if show_progress else "off", file.requirement]
    # pip writes its progress to standard output, which belongs to our own results.
    result = subprocess.run(
        command, stdout=sys.stderr if show_progress else subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False
    )
    path = folder / file.filename
    if result.returncode != 0 or not path.is_file():
        lines = [line for line in result.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        reason = lines[-1].removeprefix("ERROR: ") if lines else f"pip ended with {result.returncode}"
        raise DownloadError(
            f"{file.filename} is not on this machine and pip could not get it ({reason}); check the network or pip's "
            f"configuration, or copy the file here and name it with --from {file.filename}"
        )
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
