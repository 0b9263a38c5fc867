"""Sources of images: seeds, z, w and ws -> sources on the wire, for every request that has sources.

w is [w_dim] values, one style for all layers, and ws [num_ws, w_dim], a style for each layer. The wire has one field
for both, row-major; here their number of axes distinguishes them, because only the server knows the model's sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nonesuch.v1 import synthesis_pb2

from .argument import Latent, items, numbers, uint32
from .errors import RequestError


@dataclass(frozen=True)
class Keyframe:
    """A point that a walk passes through, from exactly one of seed, z and w."""

    seed: int | None = None
    z: Latent | None = None  # [z_dim]
    w: Latent | None = None  # [w_dim]; not for spherical-z


def source_of(**given: Any) -> synthesis_pb2.Source | None:
    """The source from at most one of the given `seed`, `z`, `w` and `ws`; None if all are None.

    Raises:
        RequestError: several are not None, or the value cannot be sent.
    """
    return None if all(value is None for value in given.values()) else one_source(**given)


def one_source(where: str = "", /, **given: Any) -> synthesis_pb2.Source:
    """As `source_of`, but exactly one is required; in errors the path `where` comes before the names.

    Raises:
        RequestError: all are None, several are not None, or the value cannot be sent.
    """
    name, value = _one_of(given, where)
    return _source(name, value, _path(where, name), takes_ws="ws" in given)


def row_sources(**given: Iterable[Any] | None) -> list[synthesis_pb2.Source]:
    """One source for each item of `seeds`, `zs`, `w`, `ws` or `keyframes`, of which exactly one is not None.

    `zs` is [N, z_dim], `w` [N, w_dim], `ws` [N, num_ws, w_dim], and `keyframes` are Keyframes.

    Raises:
        RequestError: all are None, several are not None, there are no items, or an item cannot be sent.
    """
    name, values = _one_of(given)
    sources = [_item_source(name, item, f"{name}[{index}]") for index, item in enumerate(items(values, name))]
    if not sources:
        raise RequestError.of(name, "it is empty; give at least one")
    return sources


def _one_of(given: dict[str, Any], where: str = "") -> tuple[str, Any]:
    """The name and the value of the only argument that is not None."""
    present = [name for name, value in given.items() if value is not None]
    if len(present) == 1:
        return present[0], given[present[0]]
    field = _path(where, present[-1]) if present else where or next(iter(given))
    raise RequestError.of(field, f"give one of {', '.join(given)}; {' and '.join(present) or 'none'} were given")


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _item_source(name: str, item: Any, where: str) -> synthesis_pb2.Source:
    match name:
        case "seeds":
            return _source("seed", item, name)
        case "zs":
            return _source("z", item, where)
        case "keyframes":
            if not isinstance(item, Keyframe):
                raise RequestError.of(where, f"{item!r} is not a Keyframe; use nonesuch.client.Keyframe")
            return one_source(where, seed=item.seed, z=item.z, w=item.w)
    return _source(name, item, where)


def _source(name: str, value: Any, field: str, *, takes_ws: bool = True) -> synthesis_pb2.Source:
    if name == "seed":
        return synthesis_pb2.Source(seed=uint32(value, field))
    read = numbers(value, field)
    if name == "w" and any(isinstance(item, list) for item in read):
        advice = "give a style for each layer as ws" if takes_ws else "give a walk w without layers"
        raise RequestError.of(field, f"it has layers, and w is w_dim values; {advice}")
    if name == "ws":
        _check_layers(read, field)
    latent = synthesis_pb2.Latent(values=_flat(read))
    if not latent.values:
        raise RequestError.of(field, "it has no values; give z_dim for z, w_dim for w, num_ws rows of w_dim for ws")
    return synthesis_pb2.Source(z=latent) if name == "z" else synthesis_pb2.Source(w=latent)


def _check_layers(ws: list[Any], field: str) -> None:
    if not all(isinstance(row, list) for row in ws):
        raise RequestError.of(field, "it has no layers, and ws has one row for each; give a w of w_dim values as w")
    if any(isinstance(value, list) for row in ws for value in row):
        raise RequestError.of(field, "it has more than two axes; give ws as one row of w_dim values for each layer")
    widths = [len(row) for row in ws]
    if len(set(widths)) > 1:
        raise RequestError.of(
            field, f"its rows have {min(widths)} to {max(widths)} values; give w_dim values for each layer"
        )


def _flat(read: list[Any]) -> Iterator[float]:
    for item in read:
        if isinstance(item, list):
            yield from _flat(item)
        else:
            yield item
