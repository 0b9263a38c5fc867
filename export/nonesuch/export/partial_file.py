"""A download that is not whole yet: `NAME.part`, and beside it what is needed to go on with it another day."""

from __future__ import annotations

import json
from pathlib import Path
from typing import BinaryIO

__all__ = ["PartialFile"]


class PartialFile:
    """The bytes that came so far, and the validator (RFC 9110, 13.1.5) of the content that they are the start of."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")

    @property
    def size_bytes(self) -> int:
        """How much there is."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def validator(self, url: str) -> str | None:
        """What to send as If-Range to go on with it; None: there is nothing to go on with."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None  # whatever is there is of no use; it will be begun again
        if not isinstance(note, dict) or note.get("url") != url or not self.size_bytes:
            return None
        validator = note.get("validator")
        return validator if isinstance(validator, str) and validator.isprintable() else None

    def begin(self, url: str, validator: str | None) -> None:
        """Start with nothing; without a validator it cannot be gone on with later."""
        self._note.unlink(missing_ok=True)  # first, so that no note ever describes other bytes
        self.path.write_bytes(b"")
        if validator is not None:
            self._note.write_text(json.dumps({"url": url, "validator": validator}) + "\n", encoding="utf-8")

    def append(self) -> BinaryIO:
        """The file, open for more bytes at its end."""
        return self.path.open("ab")

    def discard(self) -> None:
        """Remove what there is."""
        self._note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
