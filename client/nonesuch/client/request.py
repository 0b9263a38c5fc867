"""Keyword arguments -> the requests of GenerationService, for both clients.

What the wire cannot carry is refused here, by the name of the argument; whether a value suits the model, the server
judges.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex, TypedDict, Unpack

from nonesuch.v1 import generation_service_pb2, synthesis_pb2

from .errors import RequestError
from .image_format import format_number

__all__ = ["GenerateOptions", "Latent", "Mixing", "generate_request", "stream_request"]

# Numbers, nested or flat; numpy arrays and torch tensors are iterable and are taken as well.
Latent = Iterable[Any]

_MAX_UINT32 = 2**32 - 1
_PRIORITIES = {
    None: synthesis_pb2.PRIORITY_UNSPECIFIED,
    "interactive": synthesis_pb2.PRIORITY_INTERACTIVE,
    "bulk": synthesis_pb2.PRIORITY_BULK,
}


@dataclass(frozen=True)
class Mixing:
    """Take the styles of some layers from another seed."""

    seed: int
    layers: Sequence[int]  # indices into ws, see ModelInfo.ws_layout


class GenerateOptions(TypedDict, total=False):
    """What shapes and encodes images: keyword arguments of `generate` and `stream`, all of them optional."""

    psi: float | None  # truncation, within [-2, 2]; None: 0.7 for seeds and z, 1 for w
    cutoff: int | None  # truncate only the first so many layers; None: all
    class_index: int | None  # class of a conditional model
    mixing: Sequence[Mixing]  # applied in order
    format: str  # jpeg (the default), png, webp, raw or npy
    quality: int | None  # 1 to 100 for jpeg and webp; None: 90
    size: int | None  # side in pixels, a power of two; None: the model's resolution
    model: str  # empty: the server's default
    priority: str | None  # interactive or bulk; None: interactive for one image, bulk for many


def generate_request(
    *,
    seed: int | None = None,
    z: Latent | None = None,
    w: Latent | None = None,
    **options: Unpack[GenerateOptions],
) -> generation_service_pb2.GenerateRequest:
    """The request for one image, from at most one of seed, z and w.

    Raises:
        RequestError: an argument cannot be sent.
    """
    given = [name for name, value in (("seed", seed), ("z", z), ("w", w)) if value is not None]
    if len(given) > 1:
        raise RequestError.of(given[1], f"an image starts from one of seed, z and w; {' and '.join(given)} were given")
    request = generation_service_pb2.GenerateRequest()
    if seed is not None:
        request.source.seed = _uint32(seed, "seed")
    if z is not None:
        request.source.z.values.extend(_floats(z, "z"))
    if w is not None:
        request.source.w.values.extend(_floats(w, "w"))
    _set_options(request, **options)
    return request


def stream_request(
    seeds: Iterable[int], **options: Unpack[GenerateOptions]
) -> generation_service_pb2.GenerateStreamRequest:
    """The request for one image a seed; a range with step 1 travels as two numbers, whatever its length.

    Raises:
        RequestError: an argument cannot be sent.
    """
    request = generation_service_pb2.GenerateStreamRequest()
    if isinstance(seeds, range) and seeds.step == 1 and seeds:
        _uint32(seeds[-1], "seeds")
        request.seed_range.first = _uint32(seeds.start, "seeds")
        request.seed_range.count = _uint32(len(seeds), "seeds")
    else:
        request.sources.extend(synthesis_pb2.Source(seed=_uint32(seed, "seeds")) for seed in _items(seeds, "seeds"))
        if not request.sources:
            raise RequestError.of("seeds", "there are none; name at least one")
    _set_options(request, **options)
    return request


def _set_options(
    request: generation_service_pb2.GenerateRequest | generation_service_pb2.GenerateStreamRequest,
    *,
    psi: float | None = None,
    cutoff: int | None = None,
    class_index: int | None = None,
    mixing: Sequence[Mixing] = (),
    format: str = "jpeg",
    quality: int | None = None,
    size: int | None = None,
    model: str = "",
    priority: str | None = None,
) -> None:
    # An unset field lets the server choose, so only what the caller gave is written.
    if psi is not None:
        request.synthesis.psi = _float(psi, "psi")
    if cutoff is not None:
        request.synthesis.cutoff = _uint32(cutoff, "cutoff")
    if class_index is not None:
        request.synthesis.class_index = _uint32(class_index, "class_index")
    for position, mix in enumerate(mixing):
        source = synthesis_pb2.Source(seed=_uint32(mix.seed, f"mixing[{position}].seed"))
        field = f"mixing[{position}].layers"
        layers = [_uint32(layer, field) for layer in _items(mix.layers, field)]
        request.synthesis.mixing.append(synthesis_pb2.Mixing(source=source, layers=layers))
    request.image.format = format_number(format)
    if quality is not None:
        request.image.quality = _uint32(quality, "quality")
    if size is not None:
        request.image.size = _uint32(size, "size")
    if not isinstance(model, str):
        raise RequestError.of("model", f"{model!r} is no name")
    request.model = model
    if priority not in _PRIORITIES:
        raise RequestError.of("priority", f"{priority!r} is unknown; there are interactive and bulk")
    request.priority = _PRIORITIES[priority]


def _uint32(value: SupportsIndex, field: str) -> int:
    try:
        number = operator.index(value)  # takes numpy's integers, refuses floats
    except TypeError:
        raise RequestError.of(field, f"{value!r} is no whole number") from None
    if not 0 <= number <= _MAX_UINT32:
        raise RequestError.of(field, f"{number} is out of range; it is 0 to {_MAX_UINT32}")
    return number


def _float(value: Any, field: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise RequestError.of(field, f"{value!r} is no number") from None


def _floats(values: Latent, field: str) -> list[float]:
    # tolist() is how numpy and torch give up an array quickly; neither is imported for it.
    plain = values.tolist() if hasattr(values, "tolist") else values
    numbers = list(_flat(plain, field))
    if not numbers:
        raise RequestError.of(field, "there are no values; a latent has z_dim, w_dim or num_ws * w_dim of them")
    return numbers


def _flat(values: Any, field: str) -> Iterator[float]:
    for value in _items(values, field):
        if isinstance(value, Iterable) and not isinstance(value, str | bytes):
            yield from _flat(value, field)
        else:
            yield _float(value, field)


def _items(values: Any, field: str) -> Iterable[Any]:
    if not isinstance(values, Iterable) or isinstance(values, str | bytes):
        raise RequestError.of(field, f"{values!r} is no sequence of numbers")
    return values
