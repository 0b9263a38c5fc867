"""The artifact behind Mosec: a stage that renders batches and a stage that encodes, each a process.

Mosec takes address, port and timeout from its command line.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mosec import Server, Worker  # type: ignore[import-not-found, unused-ignore]
from numpy.typing import NDArray
from renderer import Renderer, Settings, encode  # type: ignore[import-not-found]


class Render(Worker):  # type: ignore[misc, unused-ignore]
    """{"seed": 1} to pixels."""

    def __init__(self) -> None:
        super().__init__()
        self._renderer = Renderer(Settings.read())

    def forward(self, data: Any) -> Any:
        """The images of a batch of requests; of the one request, where Mosec makes no batches."""
        requests: list[dict[str, int]] = data if isinstance(data, list) else [data]
        images = list(self._renderer.images([request["seed"] for request in requests]))
        return images if isinstance(data, list) else images[0]


class Encode(Worker):  # type: ignore[misc, unused-ignore]
    """Pixels to a JPEG."""

    resp_mime_type = "image/jpeg"

    def forward(self, data: NDArray[np.uint8]) -> bytes:
        """One image's JPEG."""
        return bytes(encode(data))

    def serialize(self, data: bytes) -> bytes:
        """The body of the answer: the JPEG as it is."""
        return data


if __name__ == "__main__":
    settings = Settings.read()
    server = Server()
    # Mosec takes 0 for "not said".
    wait_ms = max(1, round(settings.max_wait_ms))
    server.append_worker(Render, max_batch_size=settings.max_batch_size, max_wait_time=wait_ms)
    server.append_worker(Encode)
    server.run()
