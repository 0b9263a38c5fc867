"""Reads the format of torch.save since PyTorch 1.6: a zip with `data.pkl` and one member for each storage.

Members are read one by one when a tensor is needed, and their total declared size is checked before any is read.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from nonesuch.engine.errors import CheckpointError

from .read_limits import ReadLimits
from .restricted_pickle import load_pickle
from .stored_tensor import Storage
from .torch_legacy import storage_of_id

_ZIP_ERRORS = (  # raised by the standard reader for damaged, encrypted or unusual files
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
_SLACK_BYTES = 1 << 20
_DIRECTORY_BYTES_PER_MEMBER = 1024
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class TorchZip:
    """An open checkpoint; use it as a context manager, because tensors are read from it later."""

    def __init__(self, path: Path, label: str, limits: ReadLimits) -> None:
        self._label, self._limits = label, limits
        _check_directory(path, label, limits)
        try:
            self._zip = zipfile.ZipFile(path)
        except _ZIP_ERRORS as error:
            raise CheckpointError(f"{label}: a damaged or truncated zip ({error}); download the file again") from error
        try:
            self._members = self._checked_members(path.stat().st_size)
            self._prefix = self._find_prefix()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> TorchZip:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._zip.close()

    @property
    def content_bytes(self) -> int:
        """Total unpacked size of all members, as declared by the zip."""
        return sum(member.file_size for member in self._members.values())

    def load(self) -> Any:
        """Return the object of `data.pkl`; storages are read when needed.

        Raises:
            CheckpointError: the file is damaged, or refused by `load_pickle`.
        """
        order = self._members.get(f"{self._prefix}byteorder")
        if order is not None and self._read(order, 16) != b"little":
            raise CheckpointError(f"{self._label}: written on a big-endian machine, which is not supported")
        data = self._read(self._members[f"{self._prefix}data.pkl"], self._limits.pickle_bytes)
        storages: dict[str, Storage] = {}

        def find_storage(identity: Any) -> Storage:
            storage = storage_of_id(identity, self._label)
            key = identity[2]
            if key in storages:
                return storages[key]
            storages[key] = storage
            storage.read = cache(lambda: self._read_storage(key))  # many tensors may share a storage
            return storage

        value, end = load_pickle(memoryview(data), f"{self._label}: data.pkl", self._limits, 0, find_storage)
        if end != len(data):
            raise CheckpointError(f"{self._label}: data.pkl has {len(data) - end} bytes after its end")
        return value

    def _read_storage(self, key: str) -> bytes:
        member = self._members.get(f"{self._prefix}data/{key}")
        if member is None:
            raise CheckpointError(f"{self._label}: the zip has no member data/{key[:40]}; the file is incomplete")
        return self._read(member, self._limits.file_bytes)

    def _read(self, member: zipfile.ZipInfo, bound: int) -> bytes:
        if member.file_size > bound:
            raise CheckpointError(
                f"{self._label}: {member.filename[-60:]} unpacks to {member.file_size} bytes; the limit is {bound}"
            )
        try:
            with self._zip.open(member) as stream:
                data = stream.read(member.file_size + 1)
        except _ZIP_ERRORS as error:
            raise CheckpointError(f"{self._label}: {member.filename[-60:]} is damaged ({error})") from error
        if len(data) != member.file_size:
            raise CheckpointError(f"{self._label}: {member.filename[-60:]} does not have the size declared in the zip")
        return data

    def _checked_members(self, archive_bytes: int) -> dict[str, zipfile.ZipInfo]:
        members = {member.filename: member for member in self._zip.infolist()}
        if len(members) > self._limits.zip_members:
            raise CheckpointError(f"{self._label}: the zip has {len(members)} members, too many for a checkpoint")
        if len(members) != len(self._zip.infolist()):
            raise CheckpointError(f"{self._label}: the zip has several members with the same name")
        total = sum(member.file_size for member in members.values())
        bound = min(self._limits.file_bytes, self._limits.zip_ratio * archive_bytes + _SLACK_BYTES)
        if total > bound:
            raise CheckpointError(
                f"{self._label}: the zip of {archive_bytes} bytes unpacks to {total}; the limit is {bound}"
            )
        for member in members.values():
            if member.compress_type not in _METHODS or member.flag_bits & 1:
                raise CheckpointError(f"{self._label}: the zip is encrypted or uses an unsupported compression")
        return members

    def _find_prefix(self) -> str:
        found = [name for name in self._members if name.endswith("data.pkl") and name.count("/") == 1]
        if any(name.endswith("/constants.pkl") for name in self._members):
            raise CheckpointError(
                f"{self._label}: a TorchScript program, not a checkpoint; use the original checkpoint"
            )
        if len(found) != 1 or not found[0].endswith("/data.pkl"):
            raise CheckpointError(f"{self._label}: a zip without exactly one data.pkl: not a torch.save file")
        return found[0].removesuffix("data.pkl")


def _check_directory(path: Path, label: str, limits: ReadLimits) -> None:
    """Check the size of the central directory before `zipfile` reads all of it; it may be as large as the file.

    Source: PKWARE's APPNOTE 4.3.14 to 4.3.16 (end of central directory, and its 64-bit forms).
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - (1 << 16) - 98))
        tail = stream.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0 or end + 22 > len(tail):
        raise CheckpointError(f"{label}: a zip without its end: the file is truncated; download it again")
    directory = int.from_bytes(tail[end + 12 : end + 16], "little")
    if end >= 76 and tail[end - 20 : end - 16] == b"PK\6\7" and tail[end - 76 : end - 72] == b"PK\6\6":
        directory = int.from_bytes(tail[end - 36 : end - 28], "little")
    if directory > limits.zip_members * _DIRECTORY_BYTES_PER_MEMBER:
        raise CheckpointError(f"{label}: the directory of the zip has {directory} bytes, too many for a checkpoint")
