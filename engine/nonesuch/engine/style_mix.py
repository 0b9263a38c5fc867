"""Style mixing: some layers of an image take their styles from elsewhere.

Layers are indices into ws, or a group by the resolution at which they act: coarse up to 8 (pose, shape of the face),
middle 16 to 32 (features, hair), fine from 64 (colours, texture). Karras et al., arXiv 1812.04948, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from numpy.typing import ArrayLike

from .errors import InvalidRequestError
from .manifest import Manifest

__all__ = ["LayerGroup", "StyleMix"]


class LayerGroup(StrEnum):
    """Layers by the resolution at which they act."""

    COARSE = "coarse"
    MIDDLE = "middle"
    FINE = "fine"

    def layers(self, manifest: Manifest) -> tuple[int, ...]:
        """The living layers of the group.

        Raises:
            InvalidRequestError: the model has none there.
        """
        low, high = {LayerGroup.COARSE: (0, 8), LayerGroup.MIDDLE: (16, 32), LayerGroup.FINE: (64, 1 << 16)}[self]
        found = tuple(e.index for e in manifest.ws_layout if e.consumers and low <= e.resolution <= high)
        if not found:
            there = sorted({entry.resolution for entry in manifest.ws_layout if entry.consumers})
            raise InvalidRequestError.of(
                "mixing.layers",
                f"model {manifest.name!r} has no {self} layers; its layers act at {', '.join(map(str, there))}",
            )
        return found


@dataclass(frozen=True)
class StyleMix:
    """Styles for some layers, from a seed, or from a w that is already mapped."""

    seed: int | None
    layers: tuple[int, ...] | LayerGroup
    z: ArrayLike | None = None  # [z_dim]; instead of the seed
    w: ArrayLike | None = None  # [w_dim], or [num_ws, w_dim]; instead of the seed

    @property
    def text(self) -> str:
        """In words, such as "coarse styles of seed 7" or "layers 3, 4 of a latent"."""
        origin = "a latent" if self.seed is None else f"seed {self.seed}"
        if isinstance(self.layers, LayerGroup):
            return f"{self.layers} styles of {origin}"
        return f"layers {', '.join(map(str, sorted(set(self.layers))))} of {origin}"

    def indices(self, manifest: Manifest) -> list[int]:
        """The layers as indices into ws.

        Raises:
            InvalidRequestError: one is out of range, or there are none.
        """
        layers = self.layers.layers(manifest) if isinstance(self.layers, LayerGroup) else self.layers
        if not layers or not all(0 <= layer < manifest.num_ws for layer in layers):
            raise InvalidRequestError.of(
                "mixing.layers", f"layers {list(layers)}; the model's layers are 0 to {manifest.num_ws - 1}"
            )
        return list(layers)
