"""PyTorch tensors as stored in a file: a flat storage, and shape, strides and offset into it, all checked.

Data flow: rebuild arguments -> `StoredTensor`, not yet checked -> `strided_view` -> numpy view.
Source: the arguments of torch._utils._rebuild_tensor_v2 (storage, storage_offset, size, stride, ...), in elements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError

# bfloat16 is read as its bits, and widened when the values are needed.
STORAGE_DTYPES = {
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
    "torch.HalfStorage": "<f2",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "|i1",
    "torch.ByteStorage": "|u1",
    "torch.BoolStorage": "|b1",
}
_MAX_DIMENSIONS = 8
_MAX_SIZE = 1 << 31


@dataclass(eq=False, repr=False)
class Storage:
    """A flat piece of memory.

    Attributes:
        kind: the storage class in the file, such as torch.FloatStorage.
        numel: number of elements according to the file.
        read: returns the bytes; the original device is ignored.
    """

    kind: str
    numel: int
    read: Callable[[], bytes | memoryview]


@dataclass(eq=False, repr=False)
class EmbeddedSave:
    """A complete torch.save file inside a pickle; a storage pickles itself as one."""

    data: bytes | memoryview


@dataclass(eq=False, repr=False)
class StoredTensor:
    """The arguments from which a tensor is rebuilt, as in the file."""

    storage: Any
    offset: Any
    size: Any
    stride: Any


def strided_view(tensor: StoredTensor, storage: Storage, what: str) -> NDArray[Any]:
    """Return the tensor as a view of its storage.

    Args:
        tensor: shape, strides and offset.
        storage: its elements.
        what: the file and the tensor, for errors.

    Raises:
        CheckpointError: the dtype is not supported, the storage is shorter than declared, or the tensor reaches beyond
            it, has negative strides, no elements, or more elements than its storage.
    """
    dtype_name = STORAGE_DTYPES.get(storage.kind)
    if dtype_name is None:
        raise CheckpointError(f"{what} has a storage of kind {storage.kind[:60]}, which is not supported")
    size, stride, offset = (_integers(value, what) for value in (tensor.size, tensor.stride, (tensor.offset,)))
    if len(size) != len(stride) or len(size) > _MAX_DIMENSIONS:
        raise CheckpointError(f"{what} has {len(size)} dimensions and {len(stride)} strides")
    if min((*size, *stride, *offset), default=0) < 0:
        raise CheckpointError(f"{what} has negative sizes, strides or offset: {size}, {stride}, {offset[0]}")
    if max(size, default=0) > _MAX_SIZE:
        raise CheckpointError(f"{what} has an impossible shape, {size}")
    dtype = np.dtype("<u2" if dtype_name == "bfloat16" else dtype_name)
    data = storage.read()
    if type(storage.numel) is not int or storage.numel < 0 or storage.numel * dtype.itemsize > len(data):
        raise CheckpointError(f"{what} has a storage of {len(data)} bytes, shorter than its {storage.numel} elements")
    count, last = 1, offset[0]
    for extent, step in zip(size, stride, strict=True):
        count *= extent
        last += (extent - 1) * step
    if count == 0:
        raise CheckpointError(f"{what} of shape {size} has no elements")
    if count > storage.numel or last >= storage.numel:
        raise CheckpointError(
            f"{what} of shape {size}, strides {stride} and offset {offset[0]} reaches beyond its storage of "
            f"{storage.numel} elements"
        )
    strides = tuple(step * dtype.itemsize for step in stride)
    view: NDArray[Any] = np.ndarray(size, dtype, data, offset[0] * dtype.itemsize, strides)
    if dtype_name == "bfloat16":  # the upper half of a float32
        view = (view.astype("<u4") << 16).view("<f4")
    return view


def _integers(value: Any, what: str) -> tuple[int, ...]:
    if not isinstance(value, tuple | list) or not all(type(item) is int and abs(item) < 1 << 62 for item in value):
        raise CheckpointError(f"{what} has a size, stride or offset that is not an integer of reasonable size")
    return tuple(value)
