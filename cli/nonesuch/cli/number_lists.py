"""Lists of numbers on the command line, as click parameters: seeds, mixes of styles, batch sizes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from nonesuch.engine.latents import MAX_SEED
from nonesuch.engine.style_mix import LayerGroup, StyleMix

_MAX_IMAGES = 100_000
_RANGE = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")

if TYPE_CHECKING:
    _SeedsType = click.ParamType[list[int]]
    _MixType = click.ParamType[StyleMix]
    _NumbersType = click.ParamType[tuple[int, ...]]
else:
    _SeedsType = _MixType = _NumbersType = click.ParamType  # takes no type argument before click 8.4


class SeedList(_SeedsType):
    """`--seeds 0-7,42`: seeds and inclusive ranges of seeds, in the notation of the reference scripts."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """Turn the text into seeds, in its order."""
        if isinstance(value, list):
            return value
        seeds: list[int] = []
        for part in str(value).split(","):
            match = _RANGE.fullmatch(part.strip())
            if match is None:
                self.fail(f"{part.strip()!r} is not a seed or a range of seeds; write for example 0-7,42", param, ctx)
            first, last = int(match[1]), int(match[2] or match[1])
            if last < first:
                self.fail(f"{part.strip()!r} ends before it begins; write for example 0-7", param, ctx)
            if last > MAX_SEED:
                self.fail(f"{last} is out of range; seeds are 0 to {MAX_SEED}", param, ctx)
            if len(seeds) + last - first + 1 > _MAX_IMAGES:
                self.fail(f"{value!r} is more than {_MAX_IMAGES} images; ask for fewer at a time", param, ctx)
            seeds.extend(range(first, last + 1))
        return seeds


class Mix(_MixType):
    """`--mix 42:coarse` or `--mix 42:0-3,7`: the styles of some layers, a group or indices, from another seed."""

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


class NumberList(_NumbersType):
    """`--batch 1,2,4`: whole numbers of up to five digits; a number that is given again is left out."""

    name = "N,N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Turn the text into numbers, in its order."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
            self.fail(f"{value!r} is not a list of numbers; write for example 1,2,4", param, ctx)
        return tuple(dict.fromkeys(map(int, parts)))
