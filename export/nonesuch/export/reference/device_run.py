"""Runs one reference network on one device: batch -> picture as uint8, and the time that the device took.

The CUDA parts (events, graphs) follow PyTorch's documentation and are untested: the tests have no GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nonesuch.engine.manifest import Variant
from nonesuch.engine.session import Batch

from .rendering import ReferenceNetwork, TorchSettings, device_inputs, synthesis_options, to_uint8

CAPTURE_WARM_UP = 3
"""Runs before a capture. PyTorch requires them, so that lazily allocated buffers exist."""


@dataclass(frozen=True)
class _Capture:
    graph: Any
    inputs: dict[str, Tensor]
    image: Tensor


class DeviceRun:
    """Runs a network that is already on its device, in its memory format and type."""

    def __init__(self, network: ReferenceNetwork, variant: Variant, device: str, settings: TorchSettings) -> None:
        self._network, self._variant, self._device = network, variant, device
        self._dtype = torch.float16 if settings.half else torch.float32
        self._cuda: Any = torch.cuda  # its stubs lack types
        self._on_cuda = torch.device(device).type == "cuda"
        self._cuda_graphs = settings.cuda_graphs
        self._captures: dict[int, _Capture] = {}
        # Fixed shapes: code for one batch size is faster than code for every batch size.
        self._forward = torch.compile(self._synthesize, dynamic=False) if settings.compile else self._synthesize

    def __call__(self, batch: Batch) -> tuple[NDArray[np.uint8], float | None]:
        """Return the picture uint8 [N, H, W, C], and on CUDA the time on the device in ms, without copies."""
        with torch.inference_mode():
            inputs = device_inputs(batch, self._device, self._dtype)
            if not self._on_cuda:
                return self._picture(inputs).numpy(), None
            start, end = (self._cuda.Event(enable_timing=True) for _ in range(2))
            if self._cuda_graphs:
                capture = self._capture(len(batch), inputs)
                for name, static in capture.inputs.items():
                    static.copy_(inputs[name])
                start.record()
                capture.graph.replay()
                image = capture.image
            else:
                start.record()
                image = self._picture(inputs)
            end.record()
            array = image.cpu().numpy()  # waits for the device
            return array, float(start.elapsed_time(end))

    def _picture(self, inputs: dict[str, Tensor]) -> Tensor:
        image: Tensor = self._forward(inputs["ws"], synthesis_options(self._network, inputs, self._variant))
        return image

    def _synthesize(self, ws: Tensor, options: dict[str, Any]) -> Tensor:
        return to_uint8(self._network.synthesis(ws, **options))

    def _capture(self, size: int, inputs: dict[str, Tensor]) -> _Capture:
        if size not in self._captures:
            static = {name: tensor.clone() for name, tensor in inputs.items()}
            side_stream = self._cuda.Stream()
            side_stream.wait_stream(self._cuda.current_stream())
            with self._cuda.stream(side_stream):
                for _ in range(CAPTURE_WARM_UP):
                    self._picture(static)
            self._cuda.current_stream().wait_stream(side_stream)
            graph = self._cuda.CUDAGraph()
            with self._cuda.graph(graph):
                image = self._picture(static)
            self._captures[size] = _Capture(graph, static, image)
        return self._captures[size]
