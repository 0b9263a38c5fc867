"""Limits on a foreign file: sizes, counts and depth, each far above those of real checkpoints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadLimits:
    """Limits on one file. Real files have up to 0.4 GB and 40,000 opcodes; with optimizers 2 GB and 100,000 opcodes.

    Attributes:
        file_bytes: size of the file, and the unpacked size of a zip.
        tensor_bytes: total size of the network's tensors as stored.
        pickle_bytes: size of a pickle whose tensors are stored elsewhere (in a zip, or in another pickle).
        opcodes: instructions of one pickle; this also limits its objects, stack and memo.
        long_bytes: length of an arbitrary-precision integer; real files need at most ten.
        depth: nesting of containers; NVIDIA's networks have about 40 levels.
        zip_members: files in a zip; a checkpoint has one per tensor.
        zip_ratio: unpacked size of a zip as a multiple of its own size; weights barely compress.
    """

    file_bytes: int = 8 << 30
    tensor_bytes: int = 8 << 30
    pickle_bytes: int = 64 << 20
    opcodes: int = 1_000_000
    long_bytes: int = 256
    depth: int = 200
    zip_members: int = 100_000
    zip_ratio: int = 20


DEFAULT_LIMITS = ReadLimits()
