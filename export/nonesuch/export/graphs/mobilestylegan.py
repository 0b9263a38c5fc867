"""The MobileStyleGAN synthesis network as ONNX, built directly from a checkpoint.

    ws [N, num_ws, w_dim] -> conv1 at 4x4 -> blocks (inverse Haar, separable conv1, conv2) -> to_img -> inverse Haar

Every layer reads the `w` of its own index (the W+ indices of the paper's network): conv1 -> 0, up and conv1 of block
i -> 3i+1, conv2 -> 3i+2, to_img -> 3B. The indices of the blocks' RGB heads, which exist only in training, are dead.
Source: Belousov, arXiv 2104.04767, section 3 (demodulation fused into the weights, depthwise-separable modulated
convolution, prediction in the wavelet domain).

Folded at build time: the activation's bias into the convolution; the Haar transform's 1/2, and the style of the next
convolution, into the style that scales its input. The channels that produce the four sub-bands are reordered, so the
transform needs no shuffle.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nonesuch.engine.errors import UnsupportedError
from nonesuch.engine.manifest import WsIndex

from ..checkpoint import Checkpoint
from .fp16_typing import ComputeType
from .graph_builder import GraphBuilder
from .haar import WAVELETS, inverse_haar, pixel_rows, spread, sub_bands
from .image_output import clip_to_uint8_range, image_output, uint8_output
from .linear import Linear
from .styles import Affine, StyleReader
from .synthesis_builder import VariantOptions

_SLOPE = 0.2


FORMS = tuple(f"haar_{wavelet}" for wavelet in WAVELETS)
"""Forms of the inverse Haar transform, the default first; all are exact."""

RUNTIME_FORMS = {"openvino": "haar_butterfly", "tensorrt": "haar_butterfly"}
"""The form that a runtime prefers, if not the default: measured in docs/performance.md; for TensorRT, the one with the
fewest kernels (docs/tensorrt.md)."""


def ws_layout(checkpoint: Checkpoint) -> list[WsIndex]:
    """Return the resolution of each index of `ws` and the layers that read it; no layers means dead."""
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


def build_synthesis(checkpoint: Checkpoint, options: VariantOptions) -> ir.Model:
    """Build `synthesis.onnx`: input `ws float32 [N, num_ws, w_dim]`, output `image` according to the options.

    `uint8_nhwc` is uint8 [N, H, W, 3] = trunc(clip(x * 127.5 + 128, 0, 255)); `float32_nchw` is x, not clamped.

    Raises:
        CheckpointError: a tensor is missing, or its shape does not match the config.
        UnsupportedError: the family does not support an option.
    """
    return _Synthesis(checkpoint, options).build()


class _Synthesis:
    def __init__(self, checkpoint: Checkpoint, options: VariantOptions) -> None:
        if options.noise == "random":
            raise UnsupportedError(
                f"family {checkpoint.family!r} does not support noise 'random', because its noise is stored multiplied "
                "by its strength; supported: const, none"
            )
        self.wavelet = options.upsampling_form(FORMS, checkpoint.family).removeprefix("haar_")
        self.checkpoint = checkpoint
        self.options = options
        self.channels = [int(c) for c in checkpoint.config["channels"]]
        self.w_dim = int(checkpoint.config["w_dim"])
        self.num_ws = len(ws_layout(checkpoint))
        self.graph = GraphBuilder("synthesis")
        self.compute = ComputeType(self.graph, options.precision)
        self.linear = Linear(self.graph, options.linear)
        ws = self.graph.input("ws", ir.DataType.FLOAT, ["N", self.num_ws, self.w_dim])
        self.reader = StyleReader(self.graph, self.linear, ws)

    def build(self) -> ir.Model:
        resolution, blocks = int(self.checkpoint.config["resolution"]), len(self.channels) - 1
        size = resolution >> (blocks + 1)
        first = self.channels[0]
        (style,) = self.styles(0, {"conv1": first})
        base = self.compute.constant("input", self.tensor("input", 1, first, size, size))
        x = self.graph.op("Mul", [base, style], "conv1/modulate")
        weight, bias = self.tensor("conv1.weight", first, first, 3, 3), self.tensor("conv1.bias", first)
        x = self.convolve("conv1", x, self.sub_bands(weight), self.sub_bands(bias))
        x = self.activate("conv1", x, size)
        for block in range(blocks):
            size *= 2
            x = self.block(block, x, size)
        if self.uses_pixel_product:
            return self.pixel_product(x, resolution)
        style = self.styles(3 * blocks, {"to_img": self.channels[-1]})[0]
        x = self.graph.op("Mul", [x, style], "to_img/modulate")
        return self.image(x, resolution)

    @property
    def uses_pixel_product(self) -> bool:
        """Whether `pixel_product` makes the image: 8 bits only, and by a float32 MatMul, which some compilers lack."""
        options = self.options
        plain = (options.precision, options.output, options.linear) == ("fp32", "uint8_nhwc", "gemm")
        return plain and self.wavelet == "butterfly"

    def block(self, block: int, x: ir.Value, size: int) -> ir.Value:
        scope, wide, out = f"blocks.{block}", self.channels[block], self.channels[block + 1]
        narrow = wide // 4
        style = self.up_style(block, wide, narrow)
        x = self.graph.op("Mul", [x, style], f"{scope}.up/modulate")
        x = self.inverse_haar(f"{scope}.up", x, narrow, self.compute)
        x = self.separable(f"{scope}.conv1", x, None, narrow, out, size, feeds_haar=False)
        (style2,) = self.styles(3 * block + 2, {f"{scope}.conv2": out})
        # The last block feeds to_img, whose weights are in sub-band order; all others feed the next up-sampling.
        return self.separable(f"{scope}.conv2", x, style2, out, out, size, feeds_haar=block < len(self.channels) - 2)

    def up_style(self, block: int, wide: int, narrow: int) -> ir.Value:
        """Return the factor in front of the transform, [N, wide, 1, 1]: the up-sampling's style times conv1's.

        conv1's style follows the transform. The transform does not mix channels, so the style can be applied before it:
        one pass less over the largest feature maps, for a product of two style vectors.
        """
        up, conv1 = f"blocks.{block}.up", f"blocks.{block}.conv1"
        weight, bias = self.affine(conv1, narrow)
        affines = {up: self.affine(up, wide), conv1: (spread(weight, self.wavelet), spread(bias, self.wavelet))}
        styles = self.reader.read(3 * block + 1, affines)
        product = self.graph.op("Mul", [styles[up], styles[conv1]], f"{up}/style_product")
        return self.linear.spatial(self.compute.enter(product, f"{up}/style_typed"), f"{up}/style_spatial")

    def separable(
        self, scope: str, x: ir.Value, style: ir.Value | None, inputs: int, outputs: int, size: int, *, feeds_haar: bool
    ) -> ir.Value:
        """Modulate if there is a style, then depthwise 3x3, pointwise (demodulated), noise, bias, activation."""
        if style is not None:
            x = self.graph.op("Mul", [x, style], f"{scope}/modulate")
        kernel = self.compute.constant(f"{scope}.depthwise", self.tensor(f"{scope}.depthwise", inputs, 1, 3, 3))
        x = self.graph.op("Conv", [x, kernel], f"{scope}/depthwise", group=inputs, pads=[1, 1, 1, 1])
        weight = self.tensor(f"{scope}.pointwise", outputs, inputs, 1, 1)
        bias = self.tensor(f"{scope}.bias", outputs)
        if feeds_haar:
            weight, bias = self.sub_bands(weight), self.sub_bands(bias)
        return self.activate(scope, self.convolve(scope, x, weight, bias), size)

    def convolve(self, scope: str, x: ir.Value, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> ir.Value:
        pad = weight.shape[-1] // 2
        inputs = [x, self.compute.constant(f"{scope}.weight", weight), self.compute.constant(f"{scope}.bias", bias)]
        return self.graph.op("Conv", inputs, f"{scope}/conv", pads=[pad] * 4)

    def activate(self, scope: str, x: ir.Value, size: int) -> ir.Value:
        """Add constant noise (optional), then leaky ReLU without a gain; the bias is in the convolution."""
        noise = self.tensor(f"{scope}.noise", size, size)[None, None]
        if self.options.noise == "const":
            x = self.graph.op("Add", [x, self.compute.constant(f"{scope}.noise", noise)], f"{scope}/noise")
        return self.graph.op("LeakyRelu", [x], f"{scope}/lrelu", alpha=_SLOPE)

    def styles(self, index: int, consumers: dict[str, int]) -> list[ir.Value]:
        """Return the styles that read `ws[:, index]`, [N, C, 1, 1] of the compute type."""
        styles = self.reader.read(index, {name: self.affine(name, count) for name, count in consumers.items()})
        typed = {name: self.compute.enter(style, f"{name}/style_typed") for name, style in styles.items()}
        return [self.linear.spatial(style, f"{name}/style_spatial") for name, style in typed.items()]

    def affine(self, name: str, channels: int) -> Affine:
        weight = self.tensor(f"{name}.affine.weight", channels, self.w_dim)
        bias = self.tensor(f"{name}.affine.bias", channels)
        if not name.endswith(".up"):
            return weight, bias
        half = np.float32(0.5)  # the inverse Haar transform's factor
        return self.sub_bands(weight) * half, self.sub_bands(bias) * half

    def sub_bands(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        return sub_bands(array, self.wavelet)

    def inverse_haar(self, scope: str, x: ir.Value, bands: int, compute: ComputeType) -> ir.Value:
        return inverse_haar(self.graph, compute, self.wavelet, scope, x, bands)

    def image(self, x: ir.Value, resolution: int) -> ir.Model:
        """Build to_img, the last inverse Haar transform, and the output."""
        graph, last, full = self.graph, self.channels[-1], ComputeType(self.graph, "fp32")
        weight = self.sub_bands(self.tensor("to_img.weight", 12, last, 1, 1)) * np.float32(0.5)
        bias = self.sub_bands(self.tensor("to_img.bias", 12)) * np.float32(0.5)
        if self.options.output == "float32_nchw":
            x = self.compute.leave(self.convolve("to_img", x, weight, bias), "to_img/float32")
            return image_output(graph, self.inverse_haar("to_img", x, 3, full), self.options, 3, resolution)
        # Folds x * 127.5 + 128 into to_img: the transform is linear and passes LL to all four pixels with factor 1.
        low = self.sub_bands(np.repeat(np.array([128, 0], dtype=np.float32), [3, 9]))
        if self.compute.half:  # not folded: float16 has steps of 1/4 at 256
            x = self.compute.leave(self.convolve("to_img", x, weight, bias), "to_img/float32")
            x = graph.op("Mul", [x, graph.constant("to_img.scale", np.array(127.5, dtype=np.float32))], "to_img/scale")
            x = graph.op("Add", [x, graph.constant("to_img.middle", low[:, None, None])], "to_img/middle")
        else:
            x = self.convolve("to_img", x, weight * np.float32(127.5), bias * np.float32(127.5) + low)
        return uint8_output(graph, self.inverse_haar("to_img", x, 3, full), 3, resolution)

    def pixel_product(self, x: ir.Value, resolution: int) -> ir.Model:
        """Build to_img as one product per low-resolution pixel, channels last, that gives 2x2 pixels of 3 colours.

        to_img and the last transform are both linear, so the transform is folded into the weights, and so is the style,
        per sample. That saves three passes over the largest feature maps.
        """
        graph, last, half = self.graph, self.channels[-1], resolution // 2
        rows = pixel_rows(self.tensor("to_img.weight", 12, last, 1, 1)[:, :, 0, 0]).reshape(12, last)
        offset = pixel_rows(self.tensor("to_img.bias", 12)).reshape(12) * np.float32(127.5) + np.float32(128)
        index = 3 * (len(self.channels) - 1)
        style = self.reader.read(index, {"to_img": self.affine("to_img", last)})["to_img"]
        column = graph.op("Reshape", [style, graph.integers("to_img.column", [-1, 1, last, 1])], "to_img/column")
        matrix = graph.constant("to_img.weight", rows.T * np.float32(127.5))
        weight = graph.op("Mul", [column, matrix], "to_img/modulate")  # [N, 1, last, 12]
        x = graph.op("Transpose", [x], "to_img/channels_last", perm=[0, 2, 3, 1])
        x = graph.op("MatMul", [x, weight], "to_img/product")  # [N, half, half, 2 * 2 * 3]
        x = graph.op("Add", [x, graph.constant("to_img.bias", offset)], "to_img/bias")
        x = clip_to_uint8_range(graph, x)
        blocks = graph.op("Reshape", [x, graph.integers("image.blocks", [-1, half, half, 2, 6])], "image/blocks")
        lines = graph.op("Transpose", [blocks], "image/lines", perm=[0, 1, 3, 2, 4])
        shape = graph.integers("image.shape", [-1, resolution, resolution, 3])
        x = graph.op("Reshape", [lines, shape], "image/pixels")
        x = graph.op("Cast", [x], "image/uint8", to=int(ir.DataType.UINT8))  # last, as in image_output
        return graph.build([(x, "image", ir.DataType.UINT8, ["N", resolution, resolution, 3])])

    def tensor(self, name: str, *shape: int) -> NDArray[np.float32]:
        return self.checkpoint.tensor(f"synthesis.{name}", *shape)
