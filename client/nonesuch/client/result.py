"""One generated image, from an answer of GenerationService."""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nonesuch.v1 import generation_service_pb2

from .image_format import format_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


@dataclass(frozen=True)
class Timing:
    """The server's time in milliseconds, by stage; without the network."""

    queue_ms: float  # from the arrival of the request until its batch started to run
    inference_ms: float  # the run of the batch on the device
    encode_ms: float  # encoding the image
    total_ms: float  # from arrival until the answer was ready to send


@dataclass(frozen=True)
class GeneratedImage:
    """One image, with the model, the seed and the truncation that made it."""

    data: bytes = field(repr=False)  # the file; for raw, uint8 pixels [height, width, channels]
    format: str  # jpeg, png, webp, raw or npy
    width: int  # pixels
    height: int  # pixels
    channels: int  # 1 grey, 3 RGB, 4 RGBA
    model: str  # its name on the server
    model_id: str  # sha256 of its weights
    build_id: str  # equal build ids and equal requests give equal bytes
    seed: int | None  # also a seed that the server drew; None: the image came from a latent
    psi: float  # the truncation that was applied
    cached: bool  # whether it came from the server's cache
    timing: Timing
    batch_size: int  # images in the same run, this one included
    padded_batch_size: int  # the size of the run on the device
    index: int = 0  # position in a stream's request or in a walk, from 0

    @property
    def suffix(self) -> str:
        """The file suffix with its dot."""
        return ".jpg" if self.format == "jpeg" else f".{self.format}"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write `data` unchanged to `path`, whatever its suffix, and return the path.

        Raises:
            OSError: the file cannot be written.
        """
        target = Path(path)
        target.write_bytes(self.data)
        return target

    def pil(self) -> Image:
        """Decode to a Pillow image, [height, width] pixels; needs Pillow, and numpy for raw and npy."""
        from PIL import Image

        if self.format in {"raw", "npy"}:
            pixels = self.numpy()
            return Image.fromarray(pixels[..., 0] if self.channels == 1 else pixels)
        picture = Image.open(io.BytesIO(self.data))
        picture.load()  # decode now, so that a broken file fails here and not at a later use
        return picture

    def numpy(self) -> NDArray[np.uint8]:
        """Decode to uint8 [height, width, channels], writable; needs numpy, and Pillow unless raw or npy."""
        import numpy as np

        if self.format == "raw":
            flat = np.frombuffer(self.data, dtype=np.uint8)
            return flat.reshape(self.height, self.width, self.channels).copy()
        if self.format == "npy":
            loaded: NDArray[np.uint8] = np.load(io.BytesIO(self.data), allow_pickle=False)
            return loaded
        pixels = np.array(self.pil(), dtype=np.uint8)
        return pixels[..., None] if pixels.ndim == 2 else pixels


def image_from_answer(
    answer: generation_service_pb2.GenerateResponse
    | generation_service_pb2.GenerateStreamResponse
    | generation_service_pb2.WalkResponse,
) -> GeneratedImage:
    """Read one answer of Generate, GenerateStream or Walk."""
    image, generation = answer.image, answer.generation
    return GeneratedImage(
        data=image.data,
        format=format_name(image.format),
        width=image.width,
        height=image.height,
        channels=image.channels,
        model=generation.model,
        model_id=generation.model_id,
        build_id=generation.build_id,
        seed=generation.seed if generation.HasField("seed") else None,
        psi=_shortest_float(generation.psi),
        cached=generation.cached,
        timing=Timing(
            queue_ms=generation.timing.queue_us / 1000,
            inference_ms=generation.timing.inference_us / 1000,
            encode_ms=generation.timing.encode_us / 1000,
            total_ms=generation.timing.total_us / 1000,
        ),
        batch_size=generation.batch.size,
        padded_batch_size=generation.batch.padded_size,
        index=0 if isinstance(answer, generation_service_pb2.GenerateResponse) else answer.index,
    )


def _shortest_float(value: float) -> float:
    """The float with the fewest digits that is the same float32: 0.7 rather than 0.699999988079071."""
    for digits in range(6, 9):
        candidate = float(f"{value:.{digits}g}")
        if struct.pack("<f", candidate) == struct.pack("<f", value):
            return candidate
    return value
