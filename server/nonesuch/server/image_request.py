"""What is asked of the service, and what it answers: one image, in our own terms."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from numpy.typing import ArrayLike

from nonesuch.engine.encoder import EncodeOptions
from nonesuch.engine.latent_pipeline import PictureOptions

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
