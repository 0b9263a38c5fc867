"""Style mixing: some layers of an image take their styles from another source.

Layers are indices into ws, or a group by resolution: coarse up to 8 (pose, shape of the face),
middle 16 to 32 (features, hair), fine from 64 (colours, texture). Karras et al., arXiv 1812.04948, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from numpy.typing import ArrayLike

from .errors import InvalidRequestError
from .manifest import Manifest
from .source import Source, source_of


class LayerGroup(StrEnum):
    """A group of layers by resolution."""

    COARSE = "coarse"
    MIDDLE = "middle"
    FINE = "fine"

    def layers(self, manifest: Manifest) -> tuple[int, ...]:
        """The live layers of the group.

        Raises:
            InvalidRequestError: the model has no layers in the group.
        """
        low, high = {LayerGroup.COARSE: (0, 8), LayerGroup.MIDDLE: (16, 32), LayerGroup.FINE: (64, 1 << 16)}[self]
        found = tuple(e.index for e in manifest.ws_layout if e.consumers and low <= e.resolution <= high)
        if not found:
            available = sorted({entry.resolution for entry in manifest.ws_layout if entry.consumers})
            raise InvalidRequestError.of(
                "mixing.layers",
                f"model {manifest.name!r} has no {self} layers; its layers act at {', '.join(map(str, available))}",
            )
        return found


@dataclass(frozen=True, init=False)
class StyleMix:
    """Styles for some layers, from a source of one picture.

    Attributes:
        source: the origin of the styles.
        layers: indices into ws, or a group.
    """

    source: Source
    layers: tuple[int, ...] | LayerGroup

    def __init__(
        self,
        seed: int | None,
        layers: tuple[int, ...] | LayerGroup,
        *,
        z: ArrayLike | None = None,
        w: ArrayLike | None = None,
        ws: ArrayLike | None = None,
    ) -> None:
        """Take the styles of exactly one of a seed, z [z_dim], w [w_dim] and ws [num_ws, w_dim].

        Raises:
            InvalidRequestError: not exactly one is given, a seed is out of range, or values are not numbers.
        """
        try:
            seeds = None if seed is None else [seed]
            source = source_of(seeds=seeds, z=_one_row(z), w=_one_row(w), ws=_one_row(ws))
        except InvalidRequestError as error:
            whole = error.violations[0].field == "source"
            raise error.under("mixing." if whole else "mixing.source.") from error
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "layers", layers)

    @classmethod
    def of(cls, source: Source, layers: tuple[int, ...] | LayerGroup) -> StyleMix:
        """Take the styles of a source of one picture."""
        mix = cls.__new__(cls)
        object.__setattr__(mix, "source", source)
        object.__setattr__(mix, "layers", layers)
        return mix

    @property
    def text(self) -> str:
        """A description, such as "coarse styles of seed 7" or "layers 3, 4 of a latent"."""
        seed = self.source.seed(0)
        origin = "a latent" if seed is None else f"seed {seed}"
        if isinstance(self.layers, LayerGroup):
            return f"{self.layers} styles of {origin}"
        return f"layers {', '.join(map(str, sorted(set(self.layers))))} of {origin}"

    def indices(self, manifest: Manifest) -> list[int]:
        """The layers as indices into ws.

        Raises:
            InvalidRequestError: a layer is out of range, or the list is empty.
        """
        layers = self.layers.layers(manifest) if isinstance(self.layers, LayerGroup) else self.layers
        if not layers or not all(0 <= layer < manifest.num_ws for layer in layers):
            raise InvalidRequestError.of(
                "mixing.layers", f"layers {list(layers)}; the model's layers are 0 to {manifest.num_ws - 1}"
            )
        return list(layers)


def _one_row(values: ArrayLike | None) -> Any:
    return None if values is None else [values]
