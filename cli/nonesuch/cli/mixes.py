"""`--mix 42:coarse` and `--mix 42:0-3,7`: styles of some layers from another seed, as a click parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from nonesuch.engine.style_mix import LayerGroup, StyleMix

from .seeds import SeedList

if TYPE_CHECKING:
    _MixType = click.ParamType[StyleMix]
else:
    _MixType = click.ParamType  # takes no type argument before click 8.4


class Mix(_MixType):
    """SEED:LAYERS, where LAYERS is coarse, middle, fine, or indices and ranges of indices."""

    name = "SEED:LAYERS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> StyleMix:
        """Turn the text into a mix."""
        if isinstance(value, StyleMix):
            return value
        seed_text, colon, layers_text = str(value).partition(":")
        if not colon:
            self.fail(f"{value!r} has no layers; write for example 42:coarse or 42:0-3,7", param, ctx)
        seeds = SeedList().convert(seed_text, param, ctx)
        if len(seeds) != 1:
            self.fail(f"{seed_text!r} is more than one seed; give --mix once for each", param, ctx)
        if layers_text in set(LayerGroup):
            return StyleMix(seeds[0], LayerGroup(layers_text))
        return StyleMix(seeds[0], tuple(SeedList().convert(layers_text, param, ctx)))
