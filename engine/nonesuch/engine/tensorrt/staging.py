"""The host memory of one batch in flight: pinned buffers for its inputs and its images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .build_spec import BuildSpec, TensorSpec
from .cuda import Cuda, view_of


def byte_size(tensor: TensorSpec, batch_size: int) -> int:
    """The size in bytes of a tensor for a batch."""
    return batch_size * int(np.prod(tensor.shape, dtype=np.int64)) * np.dtype(tensor.dtype).itemsize


class Staging:
    """Pinned buffers for the largest batch, used by one batch at a time.

    Attributes:
        inputs: the buffers of the inputs, by name.
        output: the buffer of the images.
        done: the event after which the images are in `output`.
    """

    def __init__(self, cuda: Cuda, spec: BuildSpec, max_batch_size: int) -> None:
        self._spec = spec
        self.inputs = {tensor.name: cuda.pinned_memory(byte_size(tensor, max_batch_size)) for tensor in spec.inputs}
        self.output = cuda.pinned_memory(byte_size(spec.output, max_batch_size))
        self.done = cuda.event()

    def write(self, feeds: Mapping[str, NDArray[np.float32]]) -> None:
        """Copy the inputs of a batch, float32 [n, ...] by name, into the buffers."""
        for tensor in self._spec.inputs:
            array = feeds[tensor.name]
            view_of(self.inputs[tensor.name], array.shape, tensor.dtype)[...] = array

    def read(self, batch_size: int) -> NDArray[np.uint8]:
        """Copy the images of a batch, uint8 [n, H, W, C], because the next batch overwrites them."""
        output = self._spec.output
        images: NDArray[np.uint8] = view_of(self.output, (batch_size, *output.shape), output.dtype).copy()
        return images

    def close(self) -> None:
        """Release the memory; no batch may be in flight."""
        for buffer in (*self.inputs.values(), self.output):
            buffer.close()
        self.done.close()
