"""The MobileStyleGAN synthesis network as ONNX, built directly from a checkpoint.

    ws [N, num_ws, w_dim] -> conv1 at 4x4 -> blocks (inverse Haar, separable conv1, conv2) -> to_img -> inverse Haar

Every layer takes the `w` of its own index (the W+ indices of the paper's network): conv1 -> 0, up and conv1 of block
i -> 3i+1, conv2 -> 3i+2, to_img -> 3B; the indices of the blocks' own RGB heads, which exist only in training, are
dead.
Source: Belousov, arXiv 2104.04767, section 3 (demodulation fused into the weights, depthwise-separable modulated
convolution, prediction in the wavelet domain).

Folded at build time: the activation's bias into the convolution; the Haar transform's 1/2 into the style that scales
its input; the four sub-bands are made contiguous by reordering the channels that produce them, so the transform needs
no shuffle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nonesuch.engine.manifest import WsIndex

from ..checkpoint import Checkpoint
from .graph_builder import GraphBuilder

__all__ = ["MobileStyleGanOptions", "build_synthesis", "ws_layout"]

Wavelet = Literal["butterfly", "conv_transpose", "grouped_conv"]
_SLOPE = 0.2


@dataclass(frozen=True)
class MobileStyleGanOptions:
    """What a variant of the graph looks like."""

    wavelet: Wavelet = "conv_transpose"  # how the inverse Haar transform is written; all are exact
    output: Literal["uint8_nhwc", "float32_nchw"] = "uint8_nhwc"


def ws_layout(checkpoint: Checkpoint) -> list[WsIndex]:
    """What each index of `ws` drives: its resolution and the layers that read it; no layers means dead."""
    blocks = len(checkpoint.config["channels"]) - 1
    size = int(checkpoint.config["resolution"]) >> (blocks + 1)
    layout = {0: WsIndex(0, size, ("conv1",))}
    for block in range(blocks):
        size *= 2
        name = f"blocks.{block}"
        layout[3 * block + 1] = WsIndex(3 * block + 1, size, (f"{name}.up", f"{name}.conv1"))
        layout[3 * block + 2] = WsIndex(3 * block + 2, size, (f"{name}.conv2",))
        layout[3 * block + 3] = WsIndex(3 * block + 3, size, ())
    layout[3 * blocks] = WsIndex(3 * blocks, size, ("to_img",))
    layout[3 * blocks + 1] = WsIndex(3 * blocks + 1, size * 2, ())
    return [layout[index] for index in sorted(layout)]


def build_synthesis(checkpoint: Checkpoint, options: MobileStyleGanOptions) -> ir.Model:
    """Build `synthesis.onnx`: input `ws float32 [N, num_ws, w_dim]`, output `image` as the options say.

    `uint8_nhwc` is uint8 [N, H, W, 3] = trunc(clip(x * 127.5 + 128, 0, 255)); `float32_nchw` is x, not clamped.

    Raises:
        CheckpointError: a tensor is missing or has another shape than the config says.
    """
    return _Synthesis(checkpoint, options).build()


class _Synthesis:
    def __init__(self, checkpoint: Checkpoint, options: MobileStyleGanOptions) -> None:
        self.checkpoint = checkpoint
        self.options = options
        self.channels = [int(c) for c in checkpoint.config["channels"]]
        self.w_dim = int(checkpoint.config["w_dim"])
        self.num_ws = len(ws_layout(checkpoint))
        self.graph = GraphBuilder("synthesis")
        self.ws = self.graph.input("ws", ir.DataType.FLOAT, ["N", self.num_ws, self.w_dim])

    def build(self) -> ir.Model:
        resolution, blocks = int(self.checkpoint.config["resolution"]), len(self.channels) - 1
        size = resolution >> (blocks + 1)
        first = self.channels[0]
        (style,) = self.styles(0, {"conv1": first})
        base = self.graph.constant("input", self.tensor("input", 1, first, size, size))
        x = self.graph.op("Mul", [base, style], "conv1/modulate")
        weight, bias = self.tensor("conv1.weight", first, first, 3, 3), self.tensor("conv1.bias", first)
        x = self.convolve("conv1", x, self.sub_bands(weight), self.sub_bands(bias))
        x = self.activate("conv1", x, size)
        for block in range(blocks):
            size *= 2
            x = self.block(block, x, size)
        style = self.styles(3 * blocks, {"to_img": self.channels[-1]})[0]
        x = self.graph.op("Mul", [x, style], "to_img/modulate")
        return self.image(x, resolution)

    def block(self, block: int, x: ir.Value, size: int) -> ir.Value:
        scope, wide, out = f"blocks.{block}", self.channels[block], self.channels[block + 1]
        narrow = wide // 4
        up, style1 = self.styles(3 * block + 1, {f"{scope}.up": wide, f"{scope}.conv1": narrow})
        x = self.graph.op("Mul", [x, up], f"{scope}.up/modulate")
        x = self.inverse_haar(f"{scope}.up", x, narrow)
        x = self.separable(f"{scope}.conv1", x, style1, narrow, out, size, feeds_haar=False)
        (style2,) = self.styles(3 * block + 2, {f"{scope}.conv2": out})
        # The last block feeds to_img, whose own weights are in sub-band order; all others feed the next up-sampling.
        return self.separable(f"{scope}.conv2", x, style2, out, out, size, feeds_haar=block < len(self.channels) - 2)

    def separable(
        self, scope: str, x: ir.Value, style: ir.Value, inputs: int, outputs: int, size: int, *, feeds_haar: bool
    ) -> ir.Value:
        """Modulate, depthwise 3x3, pointwise with demodulated weights, noise, bias, activation."""
        x = self.graph.op("Mul", [x, style], f"{scope}/modulate")
        kernel = self.graph.constant(f"{scope}.depthwise", self.tensor(f"{scope}.depthwise", inputs, 1, 3, 3))
        x = self.graph.op("Conv", [x, kernel], f"{scope}/depthwise", group=inputs, pads=[1, 1, 1, 1])
        weight = self.tensor(f"{scope}.pointwise", outputs, inputs, 1, 1)
        bias = self.tensor(f"{scope}.bias", outputs)
        if feeds_haar:
            weight, bias = self.sub_bands(weight), self.sub_bands(bias)
        return self.activate(scope, self.convolve(scope, x, weight, bias), size)

    def convolve(self, scope: str, x: ir.Value, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> ir.Value:
        pad = weight.shape[-1] // 2
        inputs = [x, self.graph.constant(f"{scope}.weight", weight), self.graph.constant(f"{scope}.bias", bias)]
        return self.graph.op("Conv", inputs, f"{scope}/conv", pads=[pad] * 4)

    def activate(self, scope: str, x: ir.Value, size: int) -> ir.Value:
        """Constant noise, then leaky ReLU without a gain (the bias is in the convolution)."""
        noise = self.graph.constant(f"{scope}.noise", self.tensor(f"{scope}.noise", size, size)[None, None])
        x = self.graph.op("Add", [x, noise], f"{scope}/noise")
        return self.graph.op("LeakyRelu", [x], f"{scope}/lrelu", alpha=_SLOPE)

    def styles(self, index: int, consumers: dict[str, int]) -> list[ir.Value]:
        """One Gemm for all affines that read `ws[:, index]`, then a split: styles [N, C, 1, 1]."""
        graph, scope = self.graph, f"ws.{index}"
        position = graph.constant(f"{scope}.index", np.array(index, dtype=np.int64))
        w = graph.op("Gather", [self.ws, position], f"{scope}/gather", axis=1)
        weights, biases = [], []
        for name, channels in consumers.items():
            weight = self.tensor(f"{name}.affine.weight", channels, self.w_dim)
            bias = self.tensor(f"{name}.affine.bias", channels)
            if name.endswith(".up"):
                half = np.float32(0.5)  # the inverse Haar transform's factor
                weight, bias = self.sub_bands(weight) * half, self.sub_bands(bias) * half
            weights.append(weight)
            biases.append(bias)
        inputs = [
            w,
            graph.constant(f"{scope}.weight", np.concatenate(weights).T),
            graph.constant(f"{scope}.bias", np.concatenate(biases)),
        ]
        style = graph.op("Gemm", inputs, f"{scope}/affine")
        axes = graph.constant(f"{scope}.axes", np.array([2, 3], dtype=np.int64))
        style = graph.op("Unsqueeze", [style, axes], f"{scope}/unsqueeze")
        if len(consumers) == 1:
            return [style]
        sizes = graph.constant(f"{scope}.sizes", np.array(list(consumers.values()), dtype=np.int64))
        return list(graph.ops("Split", [style, sizes], f"{scope}/split", [f"{n}/style" for n in consumers], axis=1))

    def sub_bands(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """Reorder the leading axis from the checkpoint's order to the wavelet form's.

        The checkpoint has LL of all K channels, then (LH, HL, HH) channel by channel. The butterfly wants the four
        bands contiguous (j*K + c), the grouped forms want them side by side (c*4 + j).
        """
        bands = array.shape[0] // 4
        low, high = array[:bands, None], array[bands:].reshape(bands, 3, *array.shape[1:])
        grouped = np.concatenate([low, high], axis=1)  # [K, 4, ...]
        if self.options.wavelet == "butterfly":
            grouped = grouped.swapaxes(0, 1)
        return np.ascontiguousarray(grouped).reshape(array.shape)

    def inverse_haar(self, scope: str, x: ir.Value, bands: int) -> ir.Value:
        """Sub-bands [N, 4K, H, W], already halved, in `sub_bands` order -> [N, K, 2H, 2W].

        out[2i, 2j] = LL+LH+HL+HH; [2i, 2j+1] = LL+LH-HL-HH; [2i+1, 2j] = LL-LH+HL-HH; [2i+1, 2j+1] = LL-LH-HL+HH.
        """
        graph = self.graph
        mix = np.array(
            [[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], dtype=np.float32
        )  # [pixel, band]
        if self.options.wavelet == "conv_transpose":
            kernel = np.tile(mix.T.reshape(4, 1, 2, 2), (bands, 1, 1, 1))
            weight = graph.constant(f"{scope}.haar", kernel)
            return graph.op("ConvTranspose", [x, weight], f"{scope}/haar", group=bands, strides=[2, 2])
        if self.options.wavelet == "grouped_conv":
            weight = graph.constant(f"{scope}.haar", np.tile(mix.reshape(4, 4, 1, 1), (bands, 1, 1, 1)))
            mixed = graph.op("Conv", [x, weight], f"{scope}/haar", group=bands)
            return graph.op("DepthToSpace", [mixed], f"{scope}/shuffle", blocksize=2, mode="CRD")
        names = [f"{scope}/{band}" for band in ("ll", "lh", "hl", "hh")]
        sizes = graph.constant(f"{scope}.sizes", np.full(4, bands, dtype=np.int64))
        ll, lh, hl, hh = graph.ops("Split", [x, sizes], f"{scope}/split", names, axis=1)
        low_sum = graph.op("Add", [ll, lh], f"{scope}/low_sum")
        low_difference = graph.op("Sub", [ll, lh], f"{scope}/low_difference")
        high_sum = graph.op("Add", [hl, hh], f"{scope}/high_sum")
        high_difference = graph.op("Sub", [hl, hh], f"{scope}/high_difference")
        pixels = [
            graph.op("Add", [low_sum, high_sum], f"{scope}/pixel00"),
            graph.op("Sub", [low_sum, high_sum], f"{scope}/pixel01"),
            graph.op("Add", [low_difference, high_difference], f"{scope}/pixel10"),
            graph.op("Sub", [low_difference, high_difference], f"{scope}/pixel11"),
        ]
        joined = graph.op("Concat", pixels, f"{scope}/concat", axis=1)
        return graph.op("DepthToSpace", [joined], f"{scope}/shuffle", blocksize=2, mode="DCR")

    def image(self, x: ir.Value, resolution: int) -> ir.Model:
        """to_img, the last inverse Haar transform, and the output form."""
        graph, last = self.graph, self.channels[-1]
        weight = self.sub_bands(self.tensor("to_img.weight", 12, last, 1, 1)) * np.float32(0.5)
        bias = self.sub_bands(self.tensor("to_img.bias", 12)) * np.float32(0.5)
        if self.options.output == "float32_nchw":
            x = self.inverse_haar("to_img", self.convolve("to_img", x, weight, bias), 3)
            return graph.build([(x, "image", ir.DataType.FLOAT, ["N", 3, resolution, resolution])])
        # x * 127.5 + 128 folds into to_img: the transform is linear and passes LL to all four pixels with factor 1.
        low = self.sub_bands(np.repeat(np.array([1, 0], dtype=np.float32), [3, 9]))
        x = self.convolve("to_img", x, weight * np.float32(127.5), bias * np.float32(127.5) + 128 * low)
        x = self.inverse_haar("to_img", x, 3)
        bounds = [graph.constant(f"image.{n}", np.array(v, dtype=np.float32)) for n, v in (("low", 0), ("high", 255))]
        x = graph.op("Clip", [x, *bounds], "image/clip")
        x = graph.op("Transpose", [x], "image/nhwc", perm=[0, 2, 3, 1])
        x = graph.op("Cast", [x], "image/uint8", to=int(ir.DataType.UINT8))
        return graph.build([(x, "image", ir.DataType.UINT8, ["N", resolution, resolution, 3])])

    def tensor(self, name: str, *shape: int) -> NDArray[np.float32]:
        return self.checkpoint.tensor(f"synthesis.{name}", *shape)
