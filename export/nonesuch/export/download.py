"""Gets a catalogue file onto this machine: from where it is published, or from a copy at hand. The hash decides.

`PackageFile` (pip) and `HttpsFile` (an address) are the two kinds; both keep the rules of this module: a file appears
in the home's downloads under its name whole or not at all, a lock per file makes a second process wait and then find
it there, and nothing that was fetched is installed, imported or executed.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from filelock import FileLock
from tqdm import tqdm

from nonesuch.engine.errors import DownloadError
from nonesuch.engine.home import Home

__all__ = ["ModelFile", "Progress", "copy_at_hand", "fetch_file", "file_at_hand", "locked_target", "sha256_of"]

Progress = Callable[[Iterable[int], str, int | None], Iterable[int]]
"""Wraps the sizes, in bytes, of the pieces as they arrive: `progress(sizes, label, total or None)`."""


class ModelFile(Protocol):
    """One published file: what it is called here, and how it gets here."""

    @property
    def filename(self) -> str:
        """Its name in the home's downloads."""

    @property
    def size_bytes(self) -> int | None:
        """Its size, if it was published."""

    @property
    def sha256(self) -> str | None:
        """Its hash (hex), if it was published."""

    def describe(self) -> str:
        """Where it comes from, for people and manifests."""

    def expected_sha256(self, home: Home) -> str | None:
        """The hash that its content must have: as published, or as recorded here on first use; None before that."""

    def at_hand(self, home: Home) -> Path | None:
        """Its path if it is in the home with the right content, else None."""

    def fetch(self, home: Home, source: Path | None, progress: Progress | None) -> Path:
        """Make sure that it is in the home, from a copy at hand where `source` names one, and return its path.

        Raises:
            DownloadError: it cannot be had, or is not what it must be.
        """


def file_at_hand(file: ModelFile, home: Home) -> Path | None:
    """The file in the user's home if it is there with the right content, else None."""
    return file.at_hand(home)


def fetch_file(file: ModelFile, home: Home, *, source: Path | None = None, show_progress: bool = False) -> Path:
    """Make sure the file is in the user's home, and return its path.

    Args:
        file: what to get.
        home: where to keep it.
        source: a copy at hand, for machines without a network; None fetches it from where it is published.
        show_progress: draw a progress bar on standard error.

    Raises:
        DownloadError: it cannot be had, the copy at hand is not readable, or the content is not what it must be.
    """
    return file.fetch(home, source, _bar if show_progress else None)


@contextmanager
def locked_target(home: Home, filename: str) -> Iterator[Path]:
    """The file's place in the downloads, for one process at a time."""
    home.downloads.mkdir(parents=True, exist_ok=True)
    target = home.downloads / filename
    with FileLock(f"{target}.lock"):
        yield target


def copy_at_hand(source: Path, target: Path, max_bytes: int | None = None) -> Path:
    """Copy a file that the user named.

    Raises:
        DownloadError: it cannot be read, or is larger than `max_bytes`.
    """
    try:
        # A device or a pipe may have no end.
        if source.exists() and not source.is_file():
            raise DownloadError(f"{source} cannot be read (not a file)")
        if max_bytes is not None and source.stat().st_size > max_bytes:
            raise DownloadError(f"{source} is larger than the {max_bytes} bytes that {target.name} may have")
        shutil.copyfile(source, target)
    except OSError as error:
        raise DownloadError(f"{source} cannot be read ({error.strerror or error})") from error
    return target


def sha256_of(path: Path) -> str:
    """The sha256 (hex) of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _bar(sizes: Iterable[int], label: str, total: int | None) -> Iterator[int]:
    with tqdm(
        desc=label, total=total, unit="B", unit_scale=True, unit_divisor=1024, file=sys.stderr, leave=False
    ) as bar:
        for size in sizes:
            bar.update(size)
            yield size
