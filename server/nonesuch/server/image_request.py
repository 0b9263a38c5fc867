"""What is asked of the service, and what it answers: one image, in our own terms."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from nonesuch.engine.encoder import EncodeOptions
from nonesuch.engine.latent_pipeline import PictureOptions
from nonesuch.engine.latents import DEFAULT_PSI

from .batching.request_queue import Priority

__all__ = ["ImageRequest", "ImageTiming", "MadeImage", "fresh_seed"]


def fresh_seed() -> int:
    """A seed that nobody can predict, unsigned 32 bit."""
    return secrets.randbits(32)


@dataclass(frozen=True)
class ImageRequest:
    """One image, from exactly one of seed, z and w."""

    model: str = ""  # empty: the server's default
    seed: int | None = None
    z: ArrayLike | None = None
    w: ArrayLike | None = None  # w_dim values, or num_ws * w_dim for a style per layer
    noise_mode: str | None = None  # None: what the model was loaded with
    picture: PictureOptions = field(default_factory=PictureOptions)
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    priority: Priority = Priority.INTERACTIVE

    @property
    def psi(self) -> float:
        """The truncation that is applied."""
        if self.picture.psi is not None:
            return self.picture.psi
        return DEFAULT_PSI if self.w is None else 1.0

    def fingerprint(self, build_id: str) -> bytes:
        """Equal for requests of equal images: a hash of all that decides the bytes, model and encoder by `build_id`."""
        picture = self.picture
        hashed = hashlib.sha256(build_id.encode())
        # float32, as it is multiplied: 0.7 in code and 0.7 from the wire are the same truncation.
        plain = (self.seed, float(np.float32(self.psi)), picture.cutoff, picture.class_index, picture.noise_seed)
        moves = (picture.translate, picture.rotate_degrees)
        hashed.update(repr((plain, moves)).encode())
        latents = [("z", self.z), ("w", self.w)]
        for mix in picture.mixing:
            hashed.update(repr((mix.seed, mix.layers)).encode())
            latents += [("mix z", mix.z), ("mix w", mix.w)]
        for name, values in latents:
            data = b"" if values is None else np.asarray(values, dtype=np.float32).tobytes()
            hashed.update(f"|{name} {len(data)}|".encode() + data)
        return hashed.digest()


@dataclass(frozen=True)
class ImageTiming:
    """Where the time of one image went."""

    queue_ms: float
    inference_ms: float
    encode_ms: float
    total_ms: float


@dataclass(frozen=True)
class MadeImage:
    """One encoded image and what made it."""

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
