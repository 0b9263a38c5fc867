"""The service's request for one image, and its answer, independent of the protocol."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

import numpy as np

from nonesuch.engine.encoder import EncodeOptions
from nonesuch.engine.latent_pipeline import PictureOptions
from nonesuch.engine.source import Source, W, Ws, Z

from .batching.request_queue import Priority


def fresh_seed() -> int:
    """An unpredictable seed, unsigned 32 bit."""
    return secrets.randbits(32)


@dataclass(frozen=True)
class ImageRequest:
    """The request for one image."""

    source: Source  # with one row
    model: str = ""  # empty: the default model
    noise_mode: str | None = None  # None: the noise mode that the model was loaded with
    picture: PictureOptions = field(default_factory=PictureOptions)
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    priority: Priority = Priority.INTERACTIVE

    @property
    def seed(self) -> int | None:
        """The seed; None for a latent."""
        return self.source.seed(0)

    @property
    def psi(self) -> float:
        """The applied truncation."""
        return self.source.psi(self.picture.psi)

    def fingerprint(self, build_id: str) -> bytes:
        """A hash of everything that determines the image's bytes; `build_id` covers model and encoder."""
        picture = self.picture
        hashed = hashlib.sha256(build_id.encode())
        # As float32, the type of the multiplication, so that 0.7 in code and 0.7 from protobuf are equal.
        plain = (self.seed, float(np.float32(self.psi)), picture.cutoff, picture.class_index, picture.noise_seed)
        moves = (picture.translate, picture.rotate_degrees)
        hashed.update(repr((plain, moves)).encode())
        latents = [("", self.source)]
        for mix in picture.mixing:
            hashed.update(repr((mix.source.seed(0), mix.layers)).encode())
            latents.append(("mix ", mix.source))
        for where, source in latents:
            z = source.array.tobytes() if isinstance(source, Z) else b""
            w = source.array.tobytes() if isinstance(source, W | Ws) else b""
            hashed.update(f"|{where}z {len(z)}|".encode() + z + f"|{where}w {len(w)}|".encode() + w)
        return hashed.digest()


@dataclass(frozen=True)
class ImageTiming:
    """The duration of each stage of one image."""

    queue_ms: float
    inference_ms: float
    encode_ms: float
    total_ms: float


@dataclass(frozen=True)
class MadeImage:
    """One encoded image and its origin."""

    data: bytes
    options: EncodeOptions
    width: int
    height: int
    channels: int
    model: str
    model_id: str
    build_id: str
    seed: int | None
    psi: float
    timing: ImageTiming
    batch_size: int
    padded_size: int
    cached: bool = False
