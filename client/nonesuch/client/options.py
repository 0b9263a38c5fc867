"""Keyword arguments about images and their encoding -> the fields that every request has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from nonesuch.v1 import generation_service_pb2, synthesis_pb2

from .argument import Latent, choice, items, one_float, uint32
from .errors import RequestError
from .image_format import format_number
from .source import one_source

_PRIORITIES = {
    "interactive": synthesis_pb2.PRIORITY_INTERACTIVE,
    "bulk": synthesis_pb2.PRIORITY_BULK,
}
_LAYER_GROUPS = {
    "coarse": synthesis_pb2.LAYER_GROUP_COARSE,
    "middle": synthesis_pb2.LAYER_GROUP_MIDDLE,
    "fine": synthesis_pb2.LAYER_GROUP_FINE,
}
_NOISE_MODES = {
    "const": synthesis_pb2.NOISE_MODE_CONST,
    "none": synthesis_pb2.NOISE_MODE_NONE,
    "random": synthesis_pb2.NOISE_MODE_RANDOM,
}


@dataclass(frozen=True)
class Mixing:
    """The styles of some layers from another source: exactly one of seed, z, w and ws."""

    seed: int | None = None
    # Indices into ws, see ModelInfo.ws_layout, or a group: coarse (up to 8 pixels), middle (16 and 32), fine (from 64).
    layers: Sequence[int] | str = ()
    z: Latent | None = None  # [z_dim]
    w: Latent | None = None  # [w_dim]
    ws: Iterable[Latent] | None = None  # [num_ws, w_dim]: a style for each layer


class WalkOptions(TypedDict, total=False):
    """Keyword arguments of `generate`, `stream` and `walk`, all of them optional."""

    psi: float | None  # truncation, within [-2, 2]; None: 0.7 for seeds and z, 1 for w
    cutoff: int | None  # truncate only this many first layers; None: all
    class_index: int | None  # class of a conditional model
    mixing: Sequence[Mixing]  # applied in order
    translate: Sequence[float] | None  # (x, y): to the right in widths, down in heights of the picture; StyleGAN3 only
    rotate_degrees: float | None  # StyleGAN3 only
    noise_mode: str | None  # const, none or random: require the server's noise to be this; None: accept any
    format: str  # jpeg (the default), png, webp, raw or npy
    quality: int | None  # 1 to 100 for jpeg and webp; None: 90
    size: int | None  # side in pixels, a power of two; None: the model's resolution
    model: str  # empty: the server's default


class GenerateOptions(WalkOptions, total=False):
    """Keyword arguments of `generate` and `stream`, all of them optional."""

    priority: str | None  # interactive or bulk; None: interactive for one image, bulk for a stream


def set_options(
    request: generation_service_pb2.GenerateRequest
    | generation_service_pb2.GenerateStreamRequest
    | generation_service_pb2.WalkRequest,
    *,
    psi: float | None = None,
    cutoff: int | None = None,
    class_index: int | None = None,
    mixing: Sequence[Mixing] = (),
    translate: Sequence[float] | None = None,
    rotate_degrees: float | None = None,
    noise_mode: str | None = None,
    format: str = "jpeg",
    quality: int | None = None,
    size: int | None = None,
    model: str = "",
) -> None:
    """Write the options of WalkOptions into the request.

    Raises:
        RequestError: an option cannot be sent.
    """
    # The server chooses a field that is not set, so only the given options are written.
    if psi is not None:
        request.synthesis.psi = one_float(psi, "psi")
    if cutoff is not None:
        request.synthesis.cutoff = uint32(cutoff, "cutoff")
    if class_index is not None:
        request.synthesis.class_index = uint32(class_index, "class_index")
    for position, mix in enumerate(items(mixing, "mixing")):
        request.synthesis.mixing.append(_mixing_message(mix, f"mixing[{position}]"))
    if translate is not None:
        move = [one_float(value, "translate") for value in items(translate, "translate")]
        if len(move) != 2:
            raise RequestError.of("translate", f"{len(move)} values were given; give two, x and y")
        request.synthesis.transform.translate_x, request.synthesis.transform.translate_y = move
    if rotate_degrees is not None:
        request.synthesis.transform.rotate_degrees = one_float(rotate_degrees, "rotate_degrees")
    if noise_mode is not None:
        request.synthesis.noise_mode = choice(noise_mode, _NOISE_MODES, "noise_mode")
    request.image.format = format_number(format)
    if quality is not None:
        request.image.quality = uint32(quality, "quality")
    if size is not None:
        request.image.size = uint32(size, "size")
    if not isinstance(model, str):
        raise RequestError.of("model", f"{model!r} is not a name; give a str")
    request.model = model


def priority_number(name: str | None) -> synthesis_pb2.Priority:
    """The priority of that name on the wire; None lets the server choose.

    Raises:
        RequestError: the name is unknown.
    """
    return synthesis_pb2.PRIORITY_UNSPECIFIED if name is None else choice(name, _PRIORITIES, "priority")


def _mixing_message(mix: Mixing, where: str) -> synthesis_pb2.Mixing:
    if not isinstance(mix, Mixing):
        raise RequestError.of(where, f"{mix!r} is not a Mixing; use nonesuch.client.Mixing")
    message = synthesis_pb2.Mixing(source=one_source(where, seed=mix.seed, z=mix.z, w=mix.w, ws=mix.ws))
    field = f"{where}.layers"
    if isinstance(mix.layers, str):
        message.group = choice(mix.layers, _LAYER_GROUPS, field)
    else:
        message.layers.extend(uint32(layer, field) for layer in items(mix.layers, field))
    return message
