"""Downloads a file of the catalogue from its publisher, or copies it from a local file, and checks its hash.

A file appears in the home's downloads in one step. A lock per file makes a second process wait and then reuse it. A
downloaded file is never installed, imported or executed. Publishers of checkpoints seldom name a hash; then the hash of
the first content used is recorded, and any other content is refused later.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from filelock import FileLock

from nonesuch.engine.atomic_file import staged_file
from nonesuch.engine.errors import DownloadError
from nonesuch.engine.home import Home
from nonesuch.engine.manifest import WeightsSource

from .checkpoint import Checkpoint


class _Entry(msgspec.Struct, frozen=True, rename={"origin": "from"}):
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    origin: str = ""


class KnownHashes:
    """The hashes recorded in one downloads folder, of files without a published hash.

    They are in `known_hashes.json`, {file name: {"sha256": hex, "from": origin of the content}}. To accept a file that
    its publisher replaced, remove its entry.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "known_hashes.json"

    def get(self, filename: str) -> str | None:
        """The recorded sha256 (hex) of a file, else None.

        Raises:
            DownloadError: the record is damaged; ignoring it would mean to trust any content.
        """
        entry = self._read().get(filename)
        return entry.sha256 if entry else None

    def record(self, filename: str, sha256: str, origin: str) -> None:
        """Record a file's hash. Raises DownloadError if the record is damaged or cannot be written."""
        try:
            with FileLock(f"{self.path}.lock"):
                entries = self._read() | {filename: _Entry(sha256, origin)}
                with staged_file(self.path, prefix=".known-hashes-") as staging:
                    staging.write_bytes(msgspec.json.format(msgspec.json.encode(entries, order="sorted")) + b"\n")
        except OSError as error:
            raise DownloadError(f"{self.path} cannot be written ({error.strerror or error})") from error

    def _read(self) -> dict[str, _Entry]:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=dict[str, _Entry])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise DownloadError(f"{self.path} cannot be read ({error}); repair it, or delete it") from error


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


@dataclass(frozen=True)
class CatalogueEntry:
    """A model of the catalogue."""

    name: str
    summary: str
    family: str
    resolution: int
    file: ModelFile
    licence: str  # one line, for lists
    terms: str  # to read before use
    card: str  # the makers' description
    read: Callable[[Path], Checkpoint]
    tried: bool = True  # whether the project itself has fetched and exported it

    def weights_source(self, path: Path) -> WeightsSource:
        """The origin for the manifest, with the hash of the file at `path`."""
        return WeightsSource(name=self.file.describe(), licence=self.terms, sha256=sha256_of(path))


@dataclass(frozen=True, kw_only=True)
class PackageFile(ModelFile):
    """One file of one release on the Python package index."""

    package: str
    version: str

    @property
    def requirement(self) -> str:
        """The requirement that pip resolves to this file."""
        return f"{self.package}=={self.version}"

    def describe(self) -> str:
        """The release and the file."""
        return f"PyPI {self.requirement} ({self.filename})"

    def _download(self, target: Path, home: Home, *, show_progress: bool) -> None:
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=home.downloads) as staging:
            fetched = self._run_pip(Path(staging), show_progress=show_progress)
            self._check(fetched, f"pip's download of {self.requirement}", home)
            os.replace(fetched, target)

    def _run_pip(self, folder: Path, *, show_progress: bool) -> Path:
        """Download it into a folder with pip, which draws its own progress bar."""
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        command += ["--dest", str(folder), "--disable-pip-version-check"]
        command += ["--progress-bar", "on" if show_progress else "off", self.requirement]
        # pip writes progress to standard output, which is for our own results.
        result = subprocess.run(
            command,
            stdout=sys.stderr if show_progress else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        path = folder / self.filename
        if result.returncode != 0 or not path.is_file():
            lines = [line for line in result.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
            reason = lines[-1].removeprefix("ERROR: ") if lines else f"pip ended with {result.returncode}"
            raise DownloadError(
                f"{self.filename} is not on this machine and pip could not get it ({reason}); check the network or "
                f"pip's configuration, or copy the file here and pass --from {self.filename}"
            )
        return path
