"""The artifact behind LitServe: one API, one worker process, batches by LitServe's own queue."""

from __future__ import annotations

from typing import Any

import litserve as ls  # type: ignore[import-not-found, unused-ignore]
import numpy as np
from fastapi import Response  # type: ignore[import-not-found, unused-ignore]
from numpy.typing import NDArray
from renderer import Renderer, Settings, encode  # type: ignore[import-not-found]


class FacesApi(ls.LitAPI):  # type: ignore[misc, unused-ignore]
    """{"seed": 1} to a JPEG."""

    def setup(self, device: str) -> None:
        """Load the model, in the worker."""
        self._renderer = Renderer(Settings.read())

    def decode_request(self, request: dict[str, int]) -> int:
        """The seed."""
        return request["seed"]

    def batch(self, inputs: list[int]) -> list[int]:
        """Several requests in one run."""
        return inputs

    def predict(self, seeds: Any) -> Any:
        """The images of a batch; the one image, where LitServe makes no batches."""
        return self._renderer.images(seeds) if isinstance(seeds, list) else self._renderer.images([seeds])[0]

    def unbatch(self, output: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """An image for each request."""
        return list(output)

    def encode_response(self, output: NDArray[np.uint8]) -> Response:
        """The answer."""
        return Response(encode(output), media_type="image/jpeg")


if __name__ == "__main__":
    settings = Settings.read()
    # With a batch of one LitServe takes no timeout for filling it.
    wait_s = settings.max_wait_ms / 1e3 if settings.max_batch_size > 1 else 0.0
    api = FacesApi(max_batch_size=settings.max_batch_size, batch_timeout=wait_s)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=False)
    server.run(host="127.0.0.1", port=settings.port, generate_client_file=False, num_api_servers=1, log_level="warning")
