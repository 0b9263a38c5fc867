"""A cache of encoded images, bounded in bytes, that evicts the least recently used.

Request and build determine an image, so a cached one equals a new one byte for byte.
"""

from __future__ import annotations

from dataclasses import replace

from cachetools import LRUCache

from .image_request import ImageTiming, MadeImage

_OVERHEAD_BYTES = 1024  # per entry besides its image: key, record, dictionary
_NO_TIME = ImageTiming(0.0, 0.0, 0.0, 0.0)


class ImageCache:
    """Images by the fingerprint of their request; for the event loop only. With 0 bytes it is off."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.hits = self.misses = 0
        self._images: LRUCache[bytes, MadeImage] = LRUCache(max_bytes, _size_bytes)

    def __len__(self) -> int:
        return len(self._images)

    @property
    def enabled(self) -> bool:
        """Whether it stores images."""
        return self.max_bytes > 0

    @property
    def size_bytes(self) -> int:
        """The size of all entries, with overhead."""
        return int(self._images.currsize)

    def get(self, key: bytes) -> MadeImage | None:
        """The image of that fingerprint, marked as cached and with zero timing; else None."""
        made = self._images.get(key)
        if made is None:
            self.misses += 1
            return None
        self.hits += 1
        return replace(made, cached=True, timing=_NO_TIME)

    def put(self, key: bytes, made: MadeImage) -> None:
        """Store an image; one larger than the whole cache is skipped."""
        if key not in self._images and _size_bytes(made) <= self.max_bytes:
            self._images[key] = made


def _size_bytes(made: MadeImage) -> int:
    return len(made.data) + _OVERHEAD_BYTES
