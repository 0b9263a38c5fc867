"""Reads the format of torch.save before PyTorch 1.6, which is also how a storage is embedded in other pickles.

Layout: pickles of a magic number, the protocol version, properties of the writing machine, the object, and the keys of
the storages; then for each key the number of elements as int64, and the elements. Big-endian files are refused.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nonesuch.engine.errors import CheckpointError

from .inert import GlobalName
from .read_limits import ReadLimits
from .restricted_pickle import load_pickle
from .stored_tensor import STORAGE_DTYPES, EmbeddedSave, Storage

_MAGIC = 0x1950A86A20F9469CFC6C
_MAGIC_PICKLED = (
    b"\x8a\x0a" + _MAGIC.to_bytes(10, "little") + b"."
)  # after the protocol, and after a frame from protocol 4
_PROTOCOL = 1001
_EMBEDDED_OPCODES = 1000


def is_legacy(head: bytes) -> bool:
    """Whether a file begins like a legacy torch.save file."""
    return head.startswith(b"\x80") and _MAGIC_PICKLED in head[: 11 + len(_MAGIC_PICKLED)]


def read_legacy(data: memoryview, label: str, limits: ReadLimits) -> Any:
    """Read a legacy file.

    Returns:
        The object; its storages are views of `data`.

    Raises:
        CheckpointError: it is damaged, has another byte order or protocol, or refers to missing storages.
    """
    if not is_legacy(bytes(data[:64])):
        raise CheckpointError(f"{label}: a tensor's data is not a torch.save file")
    _, position = load_pickle(data, label, limits)
    protocol, position = load_pickle(data, label, limits, position)
    machine, position = load_pickle(data, label, limits, position)
    if protocol != _PROTOCOL or not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise CheckpointError(f"{label}: written by an unknown torch.save, or on a big-endian machine")
    storages: dict[str, Storage] = {}

    def find_storage(identity: Any) -> Storage:
        storage = storage_of_id(identity, label)
        key = identity[2]
        known = storages.setdefault(key, storage)
        if (known.kind, known.numel) != (storage.kind, storage.numel):
            raise CheckpointError(f"{label}: storage {key[:40]!r} has two different sizes")
        return known

    value, position = load_pickle(data, label, limits, position, find_storage)
    keys, position = load_pickle(data, label, limits, position)
    if not isinstance(keys, list) or not all(isinstance(key, str) and key in storages for key in keys):
        raise CheckpointError(f"{label}: the list of storages names storages that no tensor uses")
    if len(set(keys)) != len(storages) or len(keys) != len(storages):
        raise CheckpointError(f"{label}: the list of storages does not match the tensors")
    for key in keys:
        position = _bind(storages[key], data, position, label)
    return value


def _bind(storage: Storage, data: memoryview, position: int, label: str) -> int:
    """Set the bytes of a storage, which follow their count; return the end position."""
    dtype = STORAGE_DTYPES.get(storage.kind)
    if dtype is None:
        raise CheckpointError(f"{label}: a storage of kind {storage.kind[:60]} is not supported")
    itemsize = 2 if dtype == "bfloat16" else int(dtype[-1])
    start = position + 8
    numel = int.from_bytes(data[position:start], "little", signed=True)
    end = start + numel * itemsize
    if start > len(data) or numel < 0 or end > len(data):
        raise CheckpointError(f"{label}: the file is truncated: a storage of {numel} elements ends at byte {end}")
    if numel != storage.numel:
        raise CheckpointError(f"{label}: a storage has {numel} elements, but its tensor declares {storage.numel}")
    piece = data[start:end]
    storage.read = lambda: piece
    return end


def storage_of_id(identity: Any, label: str) -> Storage:
    """Return the storage of a persistent id: ("storage", class, key, location, numel[, view metadata]).

    Raises:
        CheckpointError: the id does not have this form.
    """
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
        raise CheckpointError(f"{label}: the pickle refers to external data that is not a tensor storage")
    _, kind, key, _, numel = identity[:5]  # the location (cpu, cuda:0) is ignored
    if len(identity) == 6 and identity[5] is not None:
        raise CheckpointError(f"{label}: a storage that is a view of another one is not supported; save the file again")
    if not isinstance(kind, GlobalName) or not isinstance(key, str) or type(numel) is not int:
        raise CheckpointError(f"{label}: a reference to a storage is damaged")

    def unbound() -> bytes:
        raise CheckpointError(f"{label}: a storage has no data")

    return Storage(kind.full, numel, unbound)


def open_storage(storage: Any, label: str, limits: ReadLimits) -> Storage:
    """Return a storage, read from its embedded torch.save file if necessary.

    Raises:
        CheckpointError: the object is not a storage.
    """
    if isinstance(storage, EmbeddedSave):
        # A storage needs about 40 opcodes; the limit keeps many embedded storages cheap.
        storage = read_legacy(memoryview(storage.data), label, replace(limits, opcodes=_EMBEDDED_OPCODES))
    if not isinstance(storage, Storage):
        raise CheckpointError(f"{label}: a tensor's storage is {type(storage).__name__}, which is not supported")
    return storage
