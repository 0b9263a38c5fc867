"""A folder of plans, each a file of the library's with a JSON record beside it.

    NAME.plan  NAME.json

The record is written last and read first: a plan without one is the rest of a build that was killed, and counts for
nothing. Both are written beside their place and renamed, so a reader sees the whole of either.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..atomic_file import staged_file
from ..errors import PlanError
from .plan_record import MAX_RECORD_BYTES, PlanRecord

_PLAN, _RECORD, _STAGING = ".plan", ".json", ".writing-"


@dataclass(frozen=True)
class StoredPlan:
    """A plan on disk: its file and its record. The bytes are read, and their hash checked, when they are needed."""

    path: Path
    record: PlanRecord

    def read(self) -> bytes:
        """The plan's bytes, after they were found to be those of the record; marks the plan as used.

        Raises:
            PlanError: it is gone, truncated or altered.
        """
        try:
            size = self.path.stat().st_size
            data = self.path.read_bytes() if size == self.record.plan_bytes else b""
        except OSError as error:
            raise PlanError(f"{self.path} cannot be read ({error.strerror}); build the plan again") from error
        if hashlib.sha256(data).hexdigest() != self.record.plan_sha256:
            raise PlanError(
                f"{self.path} is not the plan that was built: it has {size} bytes where its record has "
                f"{self.record.plan_bytes}, or another sha256; delete it and build again"
            )
        with contextlib.suppress(OSError):  # a folder that was shipped may be read-only
            os.utime(self.path)
        return data


class PlanFolder:
    """Plans in one folder; it is made, private to its owner, when the first is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str) -> StoredPlan | None:
        """The plan of that name, None where there is none.

        Raises:
            PlanError: there is one whose record cannot be read, or the folder belongs to somebody else.
        """
        path, record = self._paths(name)
        try:
            with record.open("rb") as file:
                data = file.read(MAX_RECORD_BYTES + 1)
            self.check_private()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise PlanError(f"{record} cannot be read ({error.strerror}); delete it and build again") from error
        if len(data) > MAX_RECORD_BYTES:
            raise PlanError(f"{record} is too large to describe a plan; delete it and build again")
        return StoredPlan(path, PlanRecord.decode(data, str(record)))

    def names(self) -> list[str]:
        """The names of all plans that have a record."""
        return sorted(path.stem for path in self.folder.glob(f"*{_RECORD}") if not path.name.startswith("."))

    def plans(self) -> Iterator[StoredPlan]:
        """All plans, by name.

        Raises:
            PlanError: as `get`.
        """
        for name in self.names():
            plan = self.get(name)
            if plan is not None:
                yield plan

    def put(self, name: str, data: bytes, record: PlanRecord) -> StoredPlan:
        """Write a plan and its record, in place of what has the name.

        Raises:
            PlanError: it cannot be written; nothing is left of it.
        """
        path, record_path = self._paths(name)
        try:
            self.make()
            record_path.unlink(missing_ok=True)
            self.write(path, data)
            self.write(record_path, record.encode())
        except OSError as error:
            with contextlib.suppress(OSError):  # what forbids writing may forbid this too
                path.unlink(missing_ok=True)
            raise PlanError(
                f"the plan of {len(data) >> 20} MiB cannot be written to {self.folder} ({error.strerror}); make "
                "room, or set NONESUCH_HOME or --into to a folder that can be written"
            ) from error
        return StoredPlan(path, record)

    def make(self) -> None:
        """Make the folder and those above it that are missing, their owner's alone.

        Raises:
            PlanError: it is there, and others can write to it.
            OSError: it cannot be made.
        """
        missing = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True, mode=stat.S_IRWXU)
        self.check_private()

    def write(self, path: Path, data: bytes) -> None:
        """Write one file of the folder as a whole: beside its place, to the disk, and renamed. Raises OSError."""
        with staged_file(path, prefix=f"{_STAGING}{path.stem}-", mode=0o600, sync=True) as staging:
            staging.write_bytes(data)

    def sweep(self, name: str = "", *, older_than_s: float = 0.0) -> None:
        """Delete what writers of a name, or of any, left behind when they were killed; nobody may be writing it now."""
        for rest in self.folder.glob(f"{_STAGING}{name}*"):
            with contextlib.suppress(OSError):
                if time.time() - rest.stat().st_mtime > older_than_s:
                    rest.unlink()

    def remove(self, name: str) -> None:
        """Delete a plan; the record goes first, so that no reader finds half of it."""
        path, record = self._paths(name)
        record.unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def _paths(self, name: str) -> tuple[Path, Path]:
        return self.folder / f"{name}{_PLAN}", self.folder / f"{name}{_RECORD}"

    def check_private(self) -> None:
        """Plans are code for a GPU: nobody else may put any here. Raises PlanError, and OSError without a folder."""
        if not hasattr(os, "geteuid"):  # the folder of a user's data is private by its place on Windows
            return
        found = self.folder.stat()
        owned = found.st_uid in {os.geteuid(), 0}
        if not owned or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PlanError(
                f"{self.folder} can be written by others, who could put plans there; "
                f"make it your own and run: chmod go-w {self.folder}"
            )
