"""The host's side of one batch on its way: pinned memory for what goes to the device and for what comes back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .build_spec import BuildSpec, TensorSpec
from .cuda import Cuda, view_of


def byte_size(tensor: TensorSpec, batch_size: int) -> int:
    """The bytes of a batch of a tensor."""
    return batch_size * int(np.prod(tensor.shape, dtype=np.int64)) * np.dtype(tensor.dtype).itemsize


class Staging:
    """Pinned buffers for the largest batch, used by one batch at a time.

    Attributes:
        inputs: the buffers of the inputs, by name.
        output: the buffer of the images.
        done: the event that says that the images are in `output`.
    """

    def __init__(self, cuda: Cuda, spec: BuildSpec, max_batch_size: int) -> None:
        self._spec = spec
        self.inputs = {tensor.name: cuda.pinned_memory(byte_size(tensor, max_batch_size)) for tensor in spec.inputs}
        self.output = cuda.pinned_memory(byte_size(spec.output, max_batch_size))
        self.done = cuda.event()

    def write(self, feeds: Mapping[str, NDArray[np.float32]]) -> None:
        """Take the inputs of a batch, float32 [n, ...] by name."""
        for tensor in self._spec.inputs:
            array = feeds[tensor.name]
            view_of(self.inputs[tensor.name], array.shape, tensor.dtype)[...] = array

    def read(self, batch_size: int) -> NDArray[np.uint8]:
        """The images of a batch, uint8 [n, H, W, C]: a copy, because the next batch writes here."""
        output = self._spec.output
        images: NDArray[np.uint8] = view_of(self.output, (batch_size, *output.shape), output.dtype).copy()
        return images

    def close(self) -> None:
        """Give the memory back; nothing may be on its way."""
        for buffer in (*self.inputs.values(), self.output):
            buffer.close()
        self.done.close()
