"""How much a foreign file may ask of the reader: sizes, counts and depth, each far above what real checkpoints have."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_LIMITS", "ReadLimits"]


@dataclass(frozen=True)
class ReadLimits:
    """Bounds on one file. Real files: up to 0.4 GB and 40 000 opcodes; with optimizers 2 GB and 100 000 opcodes.

    Attributes:
        file_bytes: size of the file, and of everything that a zip unpacks to.
        tensor_bytes: what the tensors of the network may hold together, in bytes as stored.
        pickle_bytes: size of a pickle that keeps its tensors elsewhere (in a zip, or in another pickle).
        opcodes: instructions of one pickle, which also bounds its objects, its stack and its memo.
        long_bytes: length of an arbitrary-precision integer; the longest that is needed has ten.
        depth: how deep containers may lie in one another; a network of NVIDIA's has about 40.
        zip_members: files in a zip; a checkpoint has one for each tensor.
        zip_ratio: what a zip may unpack to, as a multiple of its own size; weights barely shrink.
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
