"""The hashes of files whose publisher names none: recorded when a file is first used, and checked ever after.

They are in `downloads/known_hashes.json`, {file name: {"sha256": hex, "from": where the content came from}}. Whoever
wants to accept a file that its publisher replaced takes its entry out.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from filelock import FileLock

from nonesuch.engine.atomic_file import staged_file
from nonesuch.engine.errors import DownloadError


class KnownHashes:
    """The record of one downloads folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "known_hashes.json"

    def get(self, filename: str) -> str | None:
        """The sha256 (hex) that was recorded for a file, else None.

        Raises:
            DownloadError: the record is damaged; to go on without it would be to trust anything.
        """
        entry = self._read().get(filename)
        return entry["sha256"] if entry else None

    def record(self, filename: str, sha256: str, origin: str) -> None:
        """Write down a file's hash; the record is replaced in one step.

        Raises:
            DownloadError: the record is damaged or cannot be written.
        """
        try:
            with FileLock(f"{self.path}.lock"):
                entries = self._read() | {filename: {"sha256": sha256, "from": origin}}
                with staged_file(self.path, prefix=".known-hashes-") as staging:
                    staging.write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        except OSError as error:
            raise DownloadError(f"{self.path} cannot be written ({error.strerror or error})") from error

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            entries = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise DownloadError(f"{self.path} cannot be read ({error}); repair it, or delete it") from error
        if not isinstance(entries, dict) or not all(map(_is_entry, entries.values())):
            raise DownloadError(f"{self.path} is not a record of hashes; repair it, or delete it")
        return entries


def _is_entry(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("sha256"), str)
        and re.fullmatch("[0-9a-f]{64}", value["sha256"]) is not None
    )
