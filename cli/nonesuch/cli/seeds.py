"""`--seeds 0-7,42`: the notation of the reference scripts, as a click parameter."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from nonesuch.engine.latents import MAX_SEED

MAX_IMAGES = 100_000
"""Images in one command at most."""
_PART = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")

if TYPE_CHECKING:
    _SeedsType = click.ParamType[list[int]]
else:
    _SeedsType = click.ParamType  # takes no type argument before click 8.4


class SeedList(_SeedsType):
    """Seeds and inclusive ranges of seeds, separated by commas."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """Turn the text into seeds, in its order."""
        if isinstance(value, list):
            return value
        seeds: list[int] = []
        for part in str(value).split(","):
            match = _PART.fullmatch(part.strip())
            if match is None:
                self.fail(f"{part.strip()!r} is no seed and no range; write for example 0-7,42", param, ctx)
            first, last = int(match[1]), int(match[2] or match[1])
            if last < first:
                self.fail(f"{part.strip()!r} ends before it begins", param, ctx)
            if last > MAX_SEED:
                self.fail(f"{last} is out of range; seeds are 0 to {MAX_SEED}", param, ctx)
            if len(seeds) + last - first + 1 > MAX_IMAGES:
                self.fail(f"{value!r} is more than {MAX_IMAGES} images; ask for fewer at a time", param, ctx)
            seeds.extend(range(first, last + 1))
        return seeds
