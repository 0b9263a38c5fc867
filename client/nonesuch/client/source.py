"""Where images start: seeds, z and w -> sources on the wire, for every request that has some."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nonesuch.v1 import synthesis_pb2

from .argument import Latent, floats, items, uint32
from .errors import RequestError

__all__ = ["Keyframe", "one_source", "row_sources", "source_of"]


@dataclass(frozen=True)
class Keyframe:
    """A point that a walk passes through, from exactly one of the three."""

    seed: int | None = None
    z: Latent | None = None  # z_dim values
    w: Latent | None = None  # w_dim values; not where the walk goes through z


def source_of(*, seed: int | None, z: Latent | None, w: Latent | None, where: str = "") -> synthesis_pb2.Source | None:
    """The source of at most one of seed, z and w, None for none; `where` comes before their names in a refusal.

    Raises:
        RequestError: more than one, or one that cannot be sent.
    """
    given = [name for name, value in (("seed", seed), ("z", z), ("w", w)) if value is not None]
    if len(given) > 1:
        raise RequestError.of(
            where + given[1], f"an image starts from one of seed, z and w; {' and '.join(given)} were given"
        )
    if seed is not None:
        return synthesis_pb2.Source(seed=uint32(seed, f"{where}seed"))
    if z is not None:
        return synthesis_pb2.Source(z=synthesis_pb2.Latent(values=floats(z, f"{where}z")))
    if w is not None:
        return synthesis_pb2.Source(w=synthesis_pb2.Latent(values=floats(w, f"{where}w")))
    return None


def one_source(*, seed: int | None, z: Latent | None, w: Latent | None, where: str) -> synthesis_pb2.Source:
    """As `source_of`, and none is refused, under the name `where`."""
    source = source_of(seed=seed, z=z, w=w, where=f"{where}.")
    if source is None:
        raise RequestError.of(where, "it starts from one of seed, z and w; none was given")
    return source


def row_sources(**given: Iterable[Any] | None) -> list[synthesis_pb2.Source]:
    """One source for each of `seeds`, row of `zs`, row of `ws`, or Keyframe of `keyframes`, whichever is not None.

    Raises:
        RequestError: none of them or several, one that is empty, or an item that cannot be sent.
    """
    present = {name: values for name, values in given.items() if values is not None}
    if len(present) != 1:
        raise RequestError.of(
            [*(present or given)][-1 if present else 0],
            f"give one of {', '.join(given)}; {' and '.join(present) or 'none'} were given",
        )
    ((name, values),) = present.items()
    sources = [_item_source(item, name, index) for index, item in enumerate(items(values, name))]
    if not sources:
        raise RequestError.of(name, "there are none; name at least one")
    return sources


def _item_source(item: Any, name: str, index: int) -> synthesis_pb2.Source:
    where = f"{name}[{index}]"
    match name:
        case "seeds":
            return synthesis_pb2.Source(seed=uint32(item, name))
        case "zs":
            return synthesis_pb2.Source(z=synthesis_pb2.Latent(values=floats(item, where)))
        case "ws":
            return synthesis_pb2.Source(w=synthesis_pb2.Latent(values=floats(item, where)))
    if not isinstance(item, Keyframe):
        raise RequestError.of(where, f"{item!r} is no Keyframe")
    return one_source(seed=item.seed, z=item.z, w=item.w, where=where)
