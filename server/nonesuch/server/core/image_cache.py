"""Encoded images of earlier requests, for equal requests: bounded in bytes, the least recently used leave first.

An image is decided by its request and the build, so what is found here is what would be made again, byte for byte.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from .image_request import ImageTiming, MadeImage

__all__ = ["ImageCache"]

_OVERHEAD_BYTES = 1024  # of an entry besides its image: key, record, dictionary
_NO_TIME = ImageTiming(0.0, 0.0, 0.0, 0.0)


class ImageCache:
    """Images by the fingerprint of their request; used on the event loop alone. With no bytes it keeps nothing."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.hits = self.misses = 0
        self._images: OrderedDict[bytes, MadeImage] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._images)

    @property
    def enabled(self) -> bool:
        """Whether it keeps anything."""
        return self.most_bytes > 0

    @property
    def size_bytes(self) -> int:
        """What the images take, with what keeps them."""
        return self._bytes

    def get(self, key: bytes) -> MadeImage | None:
        """The image of that fingerprint, marked as cached; it cost nothing now."""
        made = self._images.get(key)
        if made is None:
            self.misses += 1
            return None
        self.hits += 1
        self._images.move_to_end(key)
        return replace(made, cached=True, timing=_NO_TIME)

    def put(self, key: bytes, made: MadeImage) -> None:
        """Keep an image; one that is larger than all that may be kept is passed over."""
        size = len(made.data) + _OVERHEAD_BYTES
        if size > self.most_bytes or key in self._images:
            return
        self._images[key] = made
        self._bytes += size
        while self._bytes > self.most_bytes:
            _, old = self._images.popitem(last=False)
            self._bytes -= len(old.data) + _OVERHEAD_BYTES
