"""Hashes of files without a published hash: recorded on first use of a file, and checked from then on.

They are in `downloads/known_hashes.json`, {file name: {"sha256": hex, "from": origin of the content}}. To accept a file
that its publisher replaced, remove its entry.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from filelock import FileLock

from nonesuch.engine.atomic_file import staged_file
from nonesuch.engine.errors import DownloadError


class _Entry(msgspec.Struct, frozen=True, rename={"origin": "from"}):
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    origin: str = ""


class KnownHashes:
    """The record of one downloads folder."""

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
