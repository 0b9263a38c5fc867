"""Encoded images of earlier requests, for equal requests: bounded in bytes, the least recently used leave first.

An image is decided by its request and the build, so what is found here is what would be made again, byte for byte.
"""

from __future__ import annotations

from dataclasses import replace

from cachetools import LRUCache

from .image_request import ImageTiming, MadeImage

_OVERHEAD_BYTES = 1024  # of an entry besides its image: key, record, dictionary
_NO_TIME = ImageTiming(0.0, 0.0, 0.0, 0.0)


class ImageCache:
    """Images by the fingerprint of their request; used on the event loop alone. With no bytes it keeps nothing."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.hits = self.misses = 0
        self._images: LRUCache[bytes, MadeImage] = LRUCache(max_bytes, _size_bytes)

    def __len__(self) -> int:
        return len(self._images)

    @property
    def enabled(self) -> bool:
        """Whether it keeps anything."""
        return self.max_bytes > 0

    @property
    def size_bytes(self) -> int:
        """What the images take, with what keeps them."""
        return int(self._images.currsize)

    def get(self, key: bytes) -> MadeImage | None:
        """The image of that fingerprint, marked as cached; it cost nothing now."""
        made = self._images.get(key)
        if made is None:
            self.misses += 1
            return None
        self.hits += 1
        return replace(made, cached=True, timing=_NO_TIME)

    def put(self, key: bytes, made: MadeImage) -> None:
        """Keep an image; one that is larger than all that may be kept is passed over."""
        if key not in self._images and _size_bytes(made) <= self.max_bytes:
            self._images[key] = made


def _size_bytes(made: MadeImage) -> int:
    return len(made.data) + _OVERHEAD_BYTES
