"""A folder of plans, each a file from the library with a JSON record beside it.

    NAME.plan  NAME.json

The record is written last and read first: a plan without a record is left from a killed build, and ignored. Each file
is written in one step.
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
    """A plan on disk: its file and its record. `read` reads and checks the bytes."""

    path: Path
    record: PlanRecord

    def read(self) -> bytes:
        """The plan's bytes, checked against the record; marks the plan as used.

        Raises:
            PlanError: it is missing, truncated or altered.
        """
        try:
            size = self.path.stat().st_size
            data = self.path.read_bytes() if size == self.record.plan_bytes else b""
        except OSError as error:
            raise PlanError(f"{self.path} cannot be read ({error.strerror}); build the plan again") from error
        if hashlib.sha256(data).hexdigest() != self.record.plan_sha256:
            raise PlanError(
                f"{self.path} is not the plan that was built: it has {size} bytes, not {self.record.plan_bytes}, or "
                "another sha256; delete it and build again"
            )
        with contextlib.suppress(OSError):  # a shipped folder may be read-only
            os.utime(self.path)
        return data


class PlanFolder:
    """Plans in one folder, which the first write creates, private to its owner."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str) -> StoredPlan | None:
        """The plan of that name, else None.

        Raises:
            PlanError: its record cannot be read, or others can write to the folder.
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
        """Write a plan and its record, replacing any of that name.

        Raises:
            PlanError: it cannot be written; no part of it is left.
        """
        path, record_path = self._paths(name)
        try:
            self.make()
            record_path.unlink(missing_ok=True)
            self.write(path, data)
            self.write(record_path, record.encode())
        except OSError as error:
            with contextlib.suppress(OSError):  # may be forbidden too
                path.unlink(missing_ok=True)
            raise PlanError(
                f"the plan of {len(data) >> 20} MiB cannot be written to {self.folder} ({error.strerror}); make "
                "room, or set NONESUCH_HOME or --into to a folder that can be written"
            ) from error
        return StoredPlan(path, record)

    def make(self) -> None:
        """Create the folder and its missing parents, private to the owner.

        Raises:
            PlanError: it exists, and others can write to it.
            OSError: it cannot be created.
        """
        missing = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True, mode=stat.S_IRWXU)
        self.check_private()

    def write(self, path: Path, data: bytes) -> None:
        """Write one file of the folder in one step, flushed to the disk. Raises OSError."""
        with staged_file(path, prefix=f"{_STAGING}{path.stem}-", mode=0o600, sync=True) as staging:
            staging.write_bytes(data)

    def sweep(self, name: str = "", *, older_than_s: float = 0.0) -> None:
        """Delete leftovers of killed writers of `name`, by default of all. No writer may be active now."""
        for leftover in self.folder.glob(f"{_STAGING}{name}*"):
            with contextlib.suppress(OSError):
                if time.time() - leftover.stat().st_mtime > older_than_s:
                    leftover.unlink()

    def remove(self, name: str) -> None:
        """Delete a plan, its record first, so that readers never find half of it."""
        path, record = self._paths(name)
        record.unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def _paths(self, name: str) -> tuple[Path, Path]:
        return self.folder / f"{name}{_PLAN}", self.folder / f"{name}{_RECORD}"

    def check_private(self) -> None:
        """Check that only the owner can write here: plans are GPU code. Raises PlanError; OSError without a folder."""
        if not hasattr(os, "geteuid"):  # on Windows the user's data folder is private
            return
        found = self.folder.stat()
        owned = found.st_uid in {os.geteuid(), 0}
        if not owned or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PlanError(
                f"{self.folder} can be written by others, who could put plans there; own it and run: "
                f"chmod go-w {self.folder}"
            )
