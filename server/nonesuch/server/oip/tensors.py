"""Converts tensors of the Open Inference Protocol from and to numpy, as typed or raw contents.

Open Inference Protocol 2, gRPC: "Tensor Data" (raw is little endian and row-major, BYTES has a length of four bytes
before each element; typed and raw contents are never mixed).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.errors import InvalidRequestError
from nonesuch.oip import open_inference_service_pb2 as pb

# The supported types: numpy's type, and the field of typed contents.
_TYPES = {
    "UINT8": ("<u1", "uint_contents"),
    "UINT32": ("<u4", "uint_contents"),
    "UINT64": ("<u8", "uint64_contents"),
    "INT32": ("<i4", "int_contents"),
    "INT64": ("<i8", "int64_contents"),
    "FP32": ("<f4", "fp32_contents"),
    "FP64": ("<f8", "fp64_contents"),
}

_MAX_DIMENSIONS = 3

OutputTensor = NDArray[np.generic] | Sequence[bytes]
"""A tensor of numbers, or a BYTES tensor with one dimension."""


def input_arrays(request: pb.ModelInferRequest) -> dict[str, NDArray[np.generic]]:
    """The inputs by name.

    Raises:
        InvalidRequestError: a type is not supported, a shape does not match its values, a name is not unique, or typed
            and raw contents are mixed.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidRequestError.of(
            "raw_input_contents", f"{len(raw)} for {len(request.inputs)} inputs; send one for each input, or none"
        )
    arrays: dict[str, NDArray[np.generic]] = {}
    for index, tensor in enumerate(request.inputs):
        where = f"inputs[{index}]"
        if tensor.name in arrays:
            raise InvalidRequestError.of(f"{where}.name", f"{tensor.name[:64]!r} is not unique")
        if tensor.datatype not in _TYPES:
            raise InvalidRequestError.of(
                f"{where}.datatype", f"{tensor.datatype[:64]!r} is not supported; use {', '.join(_TYPES)}"
            )
        if raw and tensor.HasField("contents"):
            raise InvalidRequestError.of(f"{where}.contents", "is set beside raw_input_contents; send one of them")
        dtype, field = _TYPES[tensor.datatype]
        if raw:
            size = np.dtype(dtype).itemsize
            if len(raw[index]) % size:
                raise InvalidRequestError.of(
                    f"raw_input_contents[{index}]",
                    f"{len(raw[index])} bytes are not a multiple of the size of {tensor.datatype}",
                )
            flat: NDArray[np.generic] = np.frombuffer(raw[index], dtype)
        else:
            try:
                flat = np.array(getattr(tensor.contents, field), dtype)
            except OverflowError as error:
                raise InvalidRequestError.of(
                    f"{where}.contents", f"a value is out of the range of {tensor.datatype}"
                ) from error
        shape = tuple(tensor.shape)
        # Checked before they are multiplied, because a message can hold a hundred thousand dimensions.
        fits = len(shape) <= _MAX_DIMENSIONS and all(0 <= side <= flat.size for side in shape)
        if not fits or math.prod(shape) != flat.size:
            raise InvalidRequestError.of(
                f"{where}.shape", f"{list(shape[:_MAX_DIMENSIONS])} does not match the {flat.size} values"
            )
        arrays[tensor.name] = flat.reshape(shape)
    return arrays


def set_outputs(response: pb.ModelInferResponse, tensors: dict[str, OutputTensor], *, raw: bool) -> None:
    """Add the outputs to an answer, raw or typed."""
    for name, tensor in tensors.items():
        if isinstance(tensor, np.ndarray):
            datatype = next(name for name, (dtype, _) in _TYPES.items() if np.dtype(dtype) == tensor.dtype)
            output = response.outputs.add(name=name, datatype=datatype, shape=tensor.shape)
            if raw:
                response.raw_output_contents.append(np.ascontiguousarray(tensor).tobytes())
            else:
                getattr(output.contents, _TYPES[datatype][1]).extend(tensor.ravel().tolist())
        else:
            output = response.outputs.add(name=name, datatype="BYTES", shape=[len(tensor)])
            if raw:
                response.raw_output_contents.append(b"".join(struct.pack("<I", len(one)) + one for one in tensor))
            else:
                output.contents.bytes_contents.extend(tensor)
