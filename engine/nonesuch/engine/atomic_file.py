"""A file that is replaced in one step: written beside its place and renamed, so that readers see no half of it."""

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
    """A new file in the folder of `path`, empty at first, which is renamed to `path` when the block has ended.

    Where the block raises, the new file is deleted, and what was at `path` stays.

    Args:
        path: where the file belongs; its folder is there already.
        prefix: how the new file's name begins, by which others find what a killed process left.
        suffix: how it ends; some writers choose a format by it.
        mode: its permissions, less the umask.
        sync: bring it to the disk before it is renamed, so that no loss of power leaves an empty file at `path`.

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
