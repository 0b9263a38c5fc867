"""Writes a file in one step: beside its place, then renamed, so that readers never see half of it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staged_file(
    path: Path, *, prefix: str = ".writing-", suffix: str = "", mode: int = 0o666, sync: bool = False
) -> Iterator[Path]:
    """A new empty file in the folder of `path`, renamed to `path` at the end of the block.

    If the block raises, the new file is deleted, and `path` stays as it was.

    Args:
        path: the final path; its folder exists.
        prefix: of the new file's name, to find the leftovers of killed processes.
        suffix: of the new file's name; some writers choose a format by it.
        mode: its permissions, less the umask.
        sync: flush it to the disk before the rename, so that a power loss cannot leave an empty file at `path`.

    Raises:
        OSError: it cannot be written.
    """
    staging = path.with_name(f"{prefix}{secrets.token_hex(8)}{suffix}")
    staging.touch(mode, exist_ok=False)
    try:
        yield staging
        if sync:
            with staging.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(staging, path)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise
