"""Downloads a file of the catalogue from its publisher, or copies it from a local file, and checks its hash.

A file appears in the home's downloads in one step. A lock per file makes a second process wait and then reuse it. A
downloaded file is never installed, imported or executed. Publishers of checkpoints seldom name a hash; then the hash of
the first content used is recorded, and any other content is refused later.
"""

from __future__ import annotations

import hashlib
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from nonesuch.engine.atomic_file import staged_file
from nonesuch.engine.errors import DownloadError
from nonesuch.engine.home import Home

from .known_hashes import KnownHashes


@dataclass(frozen=True)
class ModelFile(ABC):
    """One published file.

    Attributes:
        filename: its name in the home's downloads.
        size_bytes: as published, else None.
        sha256: as published (hex), else None.
        max_bytes: size limit; several times the largest known StyleGAN checkpoint.
    """

    filename: str
    size_bytes: int | None = None
    sha256: str | None = None
    max_bytes: int = 2 << 30

    @abstractmethod
    def describe(self) -> str:
        """The file's origin, for people and manifests."""

    @abstractmethod
    def _download(self, target: Path, home: Home, *, show_progress: bool) -> None:
        """Download it, `_check` it, and move it to `target`, with the lock held."""

    def expected_sha256(self, home: Home) -> str | None:
        """The published hash, else the one recorded on first use, else None. Raises DownloadError as `fetch`."""
        return self.sha256 or KnownHashes(home.downloads).get(self.filename)

    def at_hand(self, home: Home) -> Path | None:
        """Its path if it is in the home with the expected hash, else None. Raises DownloadError as `fetch`."""
        path = home.downloads / self.filename
        expected = self.expected_sha256(home) if path.is_file() else None
        return path if expected is not None and sha256_of(path) == expected else None

    def fetch(self, home: Home, source: Path | None = None, *, show_progress: bool = False) -> Path:
        """Download the file into the home unless it is there, or copy it from `source`; return its path.

        Raises:
            DownloadError: it cannot be fetched, its content is not the expected one, or the record is damaged.
        """
        home.downloads.mkdir(parents=True, exist_ok=True)
        target = home.downloads / self.filename
        with FileLock(f"{target}.lock"):
            if self.at_hand(home):
                return target
            if source is None:
                self._download(target, home, show_progress=show_progress)
            else:
                self._copy(source, target, home)
        return target

    def _copy(self, source: Path, target: Path, home: Home) -> None:
        with staged_file(target, prefix=".fetching-") as staging:
            try:
                # A device or a pipe may be endless.
                if source.exists() and not source.is_file():
                    raise DownloadError(f"{source} cannot be read (not a file)")
                if source.stat().st_size > self.max_bytes:
                    raise DownloadError(f"{source} is larger than the limit of {self.max_bytes} bytes")
                shutil.copyfile(source, staging)
            except OSError as error:
                raise DownloadError(f"{source} cannot be read ({error.strerror or error})") from error
            self._check(staging, str(source), home)

    def _check(self, fetched: Path, origin: str, home: Home) -> None:
        """Refuse wrong content; record the hash if none is known."""
        size, found, expected = fetched.stat().st_size, sha256_of(fetched), self.expected_sha256(home)
        known = KnownHashes(home.downloads)
        if expected is not None and found != expected:
            name, advice = f"published {self.filename}", "pass a correct copy with --from FILE"
            if self.sha256 is None:
                name = f"{self.filename} that was first used here"
                advice = f"pass that with --from FILE, or remove its entry from {known.path} to accept the new one"
            hashes = f"its sha256 is {found[:12]}…, not {expected[:12]}…"
            raise DownloadError(f"{origin} is not the {name}: {hashes}; it was not kept; {advice}")
        if self.size_bytes not in (None, size):
            sizes = f"it has {size} bytes, not {self.size_bytes}"
            raise DownloadError(f"{origin} is not the published {self.filename}: {sizes}; it was not kept")
        if expected is None:  # before the file appears, so that each file has a record
            known.record(self.filename, found, origin)


def sha256_of(path: Path) -> str:
    """The sha256 (hex) of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
