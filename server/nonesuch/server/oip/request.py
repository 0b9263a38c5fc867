"""Converts a request of the Open Inference Protocol to requests of the core.

inputs      exactly one of  seed [n] or [n, 1], any integer type
                            z FP32 [n, z_dim]    w FP32 [n, w_dim]    ws FP32 [n, num_ws, w_dim]
parameters  psi, cutoff, class_index, noise_mode, priority; format, quality, size for the output `encoded`
outputs     image UINT8 [n, H, W, C] (the default), image_fp32 FP32 [n, C, H, W], encoded BYTES [n]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.encoder import EncodeOptions, ImageFormat
from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.latent_pipeline import PictureOptions
from nonesuch.engine.latents import MAX_SEED
from nonesuch.engine.manifest import Manifest
from nonesuch.engine.source import Seeds, Source, W, Ws, Z
from nonesuch.oip import open_inference_service_pb2 as pb

from ..core.batching.request_queue import Priority
from ..core.image_request import ImageRequest
from .tensors import input_arrays

IMAGE, IMAGE_FP32, ENCODED = "image", "image_fp32", "encoded"
_PARAMETERS = ("psi", "cutoff", "class_index", "noise_mode", "priority", "format", "quality", "size")
FIELD_NAMES = {name: f"parameters.{name}" for name in _PARAMETERS}
"""The name in a request of each field of the engine."""
_ENCODED_PARAMETERS = ("format", "quality")
_BYTES = {IMAGE: 1, IMAGE_FP32: 4, ENCODED: 0}
"""Bytes per value of each output; encoded images are negligible."""
_MAX_ANSWER_BYTES = 64 << 20
_MAX_TYPED_VALUES = 8 << 20
_IGNORED_PARAMETERS = ("timeout",)
"""Parameters that clients of the protocol add; the deadline is that of gRPC."""


@dataclass(frozen=True)
class InferJob:
    """A converted request.

    Attributes:
        requests: one per image, in the order of the rows.
        outputs: the names of the outputs.
        raw: whether request and answer have raw contents.
    """

    requests: list[ImageRequest]
    outputs: tuple[str, ...]
    raw: bool


def input_shapes(manifest: Manifest) -> dict[str, tuple[str, list[int]]]:
    """The inputs of a model: type and shape."""
    return {
        "seed": ("UINT64", [-1]),
        "z": ("FP32", [-1, manifest.z_dim]),
        "w": ("FP32", [-1, manifest.w_dim]),
        "ws": ("FP32", [-1, manifest.num_ws, manifest.w_dim]),
    }


def output_shapes(manifest: Manifest, size: int | None = None) -> dict[str, tuple[str, list[int]]]:
    """The outputs of a model: type and shape, at its resolution or a smaller size."""
    side, channels = size or manifest.resolution, manifest.channels
    return {
        IMAGE: ("UINT8", [-1, side, side, channels]),
        IMAGE_FP32: ("FP32", [-1, channels, side, side]),
        ENCODED: ("BYTES", [-1]),
    }


def infer_job(request: pb.ModelInferRequest, manifest: Manifest, max_images: int) -> InferJob:
    """Convert a request for a model, with at most `max_images` images.

    Raises:
        InvalidRequestError: an input, parameter or output is invalid.
    """
    parameters, raw = _parameters(request.parameters), bool(request.raw_input_contents)
    outputs = tuple(dict.fromkeys(output.name for output in request.outputs)) or (IMAGE,)
    known = output_shapes(manifest)
    if unknown := [name for name in outputs if name not in known]:
        raise InvalidRequestError.of("outputs", f"{unknown[0][:64]!r} is unknown; there are {', '.join(known)}")
    if ENCODED in outputs and len(outputs) > 1:
        raise InvalidRequestError.of("outputs", f"{ENCODED} must be the only output; request tensors in another call")
    source = _source(input_arrays(request), manifest, max_images)
    size = parameters.whole("size")
    if ENCODED in outputs:
        encode = EncodeOptions(
            ImageFormat.parse(parameters.text("format") or "jpeg"), parameters.whole("quality"), size
        )
    else:
        for name in _ENCODED_PARAMETERS:
            if parameters.has(name):
                raise InvalidRequestError.of(f"parameters.{name}", f"applies only to the output {ENCODED}")
        encode = EncodeOptions(ImageFormat.RAW, None, size)
    _check_answer(len(source) * manifest.channels * (size or manifest.resolution) ** 2, outputs, raw=raw)
    picture = PictureOptions(
        psi=parameters.number("psi"), cutoff=parameters.whole("cutoff"), class_index=parameters.whole("class_index")
    )
    priority = parameters.choice("priority", {"interactive": Priority.INTERACTIVE, "bulk": Priority.BULK})
    noise_mode = parameters.text("noise_mode")
    if noise_mode not in {None, "const", "none", "random"}:
        raise InvalidRequestError.of("parameters.noise_mode", f"{noise_mode!r} is not const, none or random")
    common = ImageRequest(source, request.model_name, noise_mode, picture, encode, priority or Priority.INTERACTIVE)
    requests = [replace(common, source=source[row : row + 1]) for row in range(len(source))]
    return InferJob(requests, outputs, raw)


def _check_answer(values: int, outputs: Sequence[str], *, raw: bool) -> None:
    """Refuse an answer that would be too large before it is computed."""
    answer_bytes = values * sum(_BYTES[name] for name in outputs)
    if answer_bytes > _MAX_ANSWER_BYTES:
        raise InvalidRequestError.of(
            "inputs",
            f"the answer would have {answer_bytes >> 20} MiB, and the max is {_MAX_ANSWER_BYTES >> 20}; request "
            "fewer images",
        )
    if answer_bytes and not raw and values > _MAX_TYPED_VALUES:
        raise InvalidRequestError.of(
            "inputs",
            f"the answer would have {values} values, and the max of typed contents is {_MAX_TYPED_VALUES}; request "
            "fewer images, or use raw contents",
        )


def _source(arrays: Mapping[str, NDArray[np.generic]], manifest: Manifest, max_images: int) -> Source:
    """The source of the images: the request's only input."""
    shapes = input_shapes(manifest)
    if len(arrays) != 1 or (name := next(iter(arrays))) not in shapes:
        given = ", ".join(name[:64] for name in arrays) or "none"
        raise InvalidRequestError.of("inputs", f"{given} given; send exactly one of {', '.join(shapes)}")
    array = arrays[name]
    if name == "seed" and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    shape = shapes[name][1]
    if array.ndim != len(shape) or list(array.shape[1:]) != shape[1:] or not 1 <= len(array) <= max_images:
        expected = ", ".join([f"1 to {max_images}", *map(str, shape[1:])])
        raise InvalidRequestError.of(name, f"shape {list(array.shape)} does not fit [{expected}]")
    if (array.dtype.kind not in "iu") if name == "seed" else (array.dtype != np.float32):
        raise InvalidRequestError.of(name, f"{array.dtype} is not supported; use {shapes[name][0]}")
    match name:
        case "seed":
            return Seeds([int(seed) for seed in array])
        case "z":
            return Z(array)
        case "w":
            return W(array)
    return Ws(array)


@dataclass(frozen=True)
class _Parameters:
    """The parameters of a request; numbers may be text, because some clients send only text."""

    values: Mapping[str, bool | int | float | str]

    def has(self, name: str) -> bool:
        return name in self.values

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        if value is None or isinstance(value, str):
            return value
        raise InvalidRequestError.of(f"parameters.{name}", f"{value!r} is not text")

    def number(self, name: str) -> float | None:
        value = self.values.get(name)
        try:
            number = None if value is None else float(value)
        except ValueError:
            number = math.nan
        if isinstance(value, bool) or (number is not None and not math.isfinite(number)):
            raise InvalidRequestError.of(f"parameters.{name}", f"{str(value)[:64]!r} is not a number")
        return number

    def whole(self, name: str) -> int | None:
        number = self.number(name)
        if number is None:
            return None
        if number != int(number) or not 0 <= number <= MAX_SEED:
            raise InvalidRequestError.of(f"parameters.{name}", f"{number:g} is not an integer from 0 to {MAX_SEED}")
        return int(number)

    def choice(self, name: str, values: Mapping[str, Priority]) -> Priority | None:
        text = self.text(name)
        if text is not None and text not in values:
            raise InvalidRequestError.of(
                f"parameters.{name}", f"{text[:64]!r} is unknown; there are {', '.join(values)}"
            )
        return None if text is None else values[text]


def _parameters(given: Mapping[str, pb.InferParameter]) -> _Parameters:
    values: dict[str, bool | int | float | str] = {}
    for name, parameter in given.items():
        if name in _IGNORED_PARAMETERS:
            continue
        if name not in _PARAMETERS:
            raise InvalidRequestError.of("parameters", f"{name[:64]!r} is unknown; there are {', '.join(_PARAMETERS)}")
        kind = parameter.WhichOneof("parameter_choice")
        if kind is not None:
            values[name] = getattr(parameter, kind)
    return _Parameters(values)
