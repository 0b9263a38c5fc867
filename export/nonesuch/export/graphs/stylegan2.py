"""The StyleGAN2 synthesis network as ONNX, built directly from a checkpoint.

    ws [N, num_ws, w_dim] -> b4 (constant, conv1) -> b8 (conv0 up-samples, conv1) -> ... -> RGB

Architectures: "skip" sums an RGB head of every block, each sum up-sampled to the next; "orig" has one head at the end;
"resnet" also has a 1x1 convolution around each block. Every layer is
    modulate -> convolve -> demodulate -> + noise -> + bias -> leaky ReLU 0.2 -> gain sqrt 2 -> clamp.
Source: Karras et al., arXiv 1912.04958, sections 2 and 4, appendix B; the clamp: arXiv 2006.06676, appendix D.

Folded at build time: the activation's gain into demodulation, noise and bias (leaky ReLU is homogeneous); the noise
strength into the constant noise; the factor of 8-bit pictures into the RGB heads and their clamps.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError, UnsupportedError
from nonesuch.engine.manifest import WsIndex

from ..checkpoint import Checkpoint
from .fp16_typing import FP16_CLAMP, ComputeType
from .graph_builder import GraphBuilder
from .image_output import image_output, image_scale
from .linear import Linear
from .modulated_conv import Modulator
from .styles import Affine, StyleReader
from .synthesis_builder import VariantOptions
from .upsampling import FORMS as UPSAMPLING_FORMS
from .upsampling import Upsampler
from .winograd import winograd_convolve

FORMS = (*UPSAMPLING_FORMS, "winograd")
"""Forms of the convolutions: of the up-sampling ones; "winograd" is transposed, with Winograd for some plain ones."""

RUNTIME_FORMS: dict[str, str] = {}
"""Every runtime prefers the default form."""

# Measured on a CPU (docs/performance.md): with few channels the additions on whole maps cost more than the products
# save, and small maps save little but have as many weights.
_WINOGRAD_SIZES = (16, 32, 64, 128)
_WINOGRAD_CHANNELS = 128

_SLOPE = 0.2
_ARCHITECTURES = ("skip", "orig", "resnet")


def ws_layout(checkpoint: Checkpoint) -> list[WsIndex]:
    """Return the layers that read each index of `ws`. A block's RGB head shares its index with the next block's conv0.

    Raises:
        CheckpointError: the config's resolution is not a power of two of at least 4, or its architecture is unknown.
    """
    resolution, architecture = int(checkpoint.config["resolution"]), checkpoint.config["architecture"]
    if resolution < 4 or resolution & (resolution - 1):
        raise CheckpointError(f"resolution {resolution} is not a power of two of at least 4")
    if architecture not in _ARCHITECTURES:
        raise CheckpointError(f"architecture {architecture!r} is unknown; supported: {', '.join(_ARCHITECTURES)}")
    consumers: list[tuple[int, list[str]]] = [(4, ["b4.conv1"])]
    shared = ["b4.torgb"] if architecture == "skip" or resolution == 4 else []
    size = 4
    while size < resolution:
        size *= 2
        consumers += [(size, [*shared, f"b{size}.conv0"]), (size, [f"b{size}.conv1"])]
        shared = [f"b{size}.torgb"] if architecture == "skip" or size == resolution else []
    consumers.append((size, shared))
    return [WsIndex(index, size, tuple(names)) for index, (size, names) in enumerate(consumers)]


def build_synthesis(checkpoint: Checkpoint, options: VariantOptions) -> ir.Model:
    """Build `synthesis.onnx`: input `ws float32 [N, num_ws, w_dim]`, output `image` according to the options.

    With noise "random" each layer has an additional input, `noise.b{r}.conv{0,1} float32 [N, 1, r, r]`, standard normal
    as in training; it is multiplied by the layer's strength. A float picture is not clamped.

    Raises:
        CheckpointError: a tensor is missing, its shape does not match the config, or the config is invalid.
        UnsupportedError: the family does not support this form of up-sampling.
    """
    return _Synthesis(checkpoint, options).build()


class _Synthesis:
    def __init__(self, checkpoint: Checkpoint, options: VariantOptions) -> None:
        config = checkpoint.config
        self.checkpoint = checkpoint
        self.options = options
        self.layout = ws_layout(checkpoint)
        self.resolution, self.w_dim = int(config["resolution"]), int(config["w_dim"])
        self.img_channels, self.architecture = int(config["img_channels"]), str(config["architecture"])
        self.channels = [int(c) for c in config["channels"]]
        if 2 * len(self.channels) != len(self.layout):
            raise CheckpointError(
                f"the config has channels of {len(self.channels)} blocks, which do not fit {self.resolution} pixels"
            )
        clamp = config["conv_clamp"]
        # Without a clamp in the checkpoint, float16 gets the one used to train float16 networks.
        self.clamp = float(clamp) if clamp is not None else FP16_CLAMP if options.precision == "fp16" else None
        self.graph = GraphBuilder("synthesis")
        self.ws = self.graph.input("ws", ir.DataType.FLOAT, ["N", len(self.layout), self.w_dim])
        self.linear = Linear(self.graph, options.linear)
        self.compute = ComputeType(self.graph, options.precision)
        self.full = ComputeType(self.graph, "fp32")
        self.modulator = Modulator(self.graph, self.compute, self.linear)
        form = options.upsampling_form(FORMS, checkpoint.family)
        self.winograd = form == "winograd"
        if self.winograd and options.precision != "fp32":
            raise UnsupportedError("the form 'winograd' needs float32; use transposed or polyphase with fp16")
        self.upsampler = Upsampler(
            self.graph, UPSAMPLING_FORMS[0] if self.winograd else form, config["resample_filter"]
        )
        self.styles: dict[str, ir.Value] = {}

    def build(self) -> ir.Model:
        reader = StyleReader(self.graph, self.linear, self.ws)
        for entry in self.layout:
            self.styles |= reader.read(entry.index, {name: self.affine(name) for name in entry.consumers})
        channels = self.channels
        inputs = self.extent("input", 1)
        x = self.compute.constant("input", self.tensor("input", 1, inputs, 4, 4))
        x = self.layer("b4.conv1", x, inputs, channels[0], 4)
        rgb = self.rgb(x, channels[0], 4, None)
        for index, (inputs, outputs) in enumerate(itertools.pairwise(channels)):
            size = 8 << index
            x = self.block(x, inputs, outputs, size)
            rgb = self.rgb(x, outputs, size, rgb)
        assert rgb is not None  # noqa: S101  # the last block has a head in every architecture
        return image_output(self.graph, rgb, self.options, self.img_channels, self.resolution)

    def block(self, x: ir.Value, inputs: int, outputs: int, size: int) -> ir.Value:
        scope, residual = f"b{size}", self.architecture == "resnet"
        middle = self.extent(f"{scope}.conv0.weight", 0)  # may differ in pruned networks
        half = math.sqrt(0.5)  # the sum of two branches keeps the variance of one
        trunk = self.layer(f"{scope}.conv0", x, inputs, middle, size, up=True)
        trunk = self.layer(f"{scope}.conv1", trunk, middle, outputs, size, gain=half if residual else 1.0)
        if not residual:
            return trunk
        weight = self.tensor(f"{scope}.skip.weight", outputs, inputs, 1, 1) * np.float32(half)
        constant = self.compute.constant(f"{scope}.skip.weight", weight)
        skip = self.graph.op("Conv", [x, constant], f"{scope}.skip/conv")
        skip = self.upsampler.resample(f"{scope}.skip", skip, outputs, self.compute)
        return self.graph.op("Add", [skip, trunk], f"{scope}/sum")

    def layer(
        self, scope: str, x: ir.Value, inputs: int, outputs: int, size: int, *, up: bool = False, gain: float = 1.0
    ) -> ir.Value:
        """Build one modulated 3x3 layer; `gain` multiplies its output and its clamp."""
        graph, total = self.graph, gain * math.sqrt(2.0)
        weight = self.tensor(f"{scope}.weight", outputs, inputs, 3, 3)
        parts = self.modulator.demodulated(scope, self.styles[scope], weight, total)
        x = graph.op("Mul", [x, parts.style], f"{scope}/modulate")
        if up:
            x = self.upsampler.convolve(scope, x, parts.weight, self.compute)
        elif self.winograd and size in _WINOGRAD_SIZES and min(inputs, outputs) >= _WINOGRAD_CHANNELS:
            x = winograd_convolve(graph, scope, x, parts.weight, size)
        else:
            constant = self.compute.constant(f"{scope}.weight", parts.weight)
            x = graph.op("Conv", [x, constant], f"{scope}/conv", pads=[1, 1, 1, 1])
        x = graph.op("Mul", [x, parts.scale], f"{scope}/demodulate")
        noise = self.noise(scope, size, total)
        if noise is not None:
            x = graph.op("Add", [x, noise], f"{scope}/add_noise")
        bias = self.tensor(f"{scope}.bias", outputs) * np.float32(total)
        x = graph.op("Add", [x, self.compute.constant(f"{scope}.bias", bias[:, None, None])], f"{scope}/add_bias")
        x = graph.op("LeakyRelu", [x], f"{scope}/lrelu", alpha=_SLOPE)
        return x if self.clamp is None else self.compute.clip(x, f"{scope}/clamp", self.clamp * gain)

    def noise(self, scope: str, size: int, gain: float) -> ir.Value | None:
        """Return the noise to add, [1 or N, 1, size, size] of the compute type, or None."""
        strength = self.tensor(f"{scope}.noise_strength") * np.float32(gain)
        constant = self.tensor(f"{scope}.noise_const", size, size)
        if self.options.noise == "none":
            return None
        if self.options.noise == "const":
            return self.compute.constant(f"{scope}.noise", (constant * strength)[None, None])
        noise = self.graph.input(f"noise.{scope}", ir.DataType.FLOAT, ["N", 1, size, size])
        factor = self.graph.constant(f"{scope}.noise_strength", strength)
        return self.compute.enter(self.graph.op("Mul", [noise, factor], f"{scope}/noise"), f"{scope}/noise_typed")

    def rgb(self, x: ir.Value, inputs: int, size: int, previous: ir.Value | None) -> ir.Value | None:
        """Return the sum of the RGB heads up to this block, float32, times `image_scale`."""
        scope, graph, gain = f"b{size}.torgb", self.graph, image_scale(self.options)
        if scope not in self.styles:
            return previous
        weight = self.tensor(f"{scope}.weight", self.img_channels, inputs, 1, 1)
        bias = self.tensor(f"{scope}.bias", self.img_channels) * np.float32(gain)
        parts = self.modulator.plain(scope, self.styles[scope], weight, gain)
        x = graph.op("Mul", [x, parts.style], f"{scope}/modulate")
        constant = self.compute.constant(f"{scope}.weight", parts.weight)
        if parts.scale is None:
            x = graph.op("Conv", [x, constant, graph.constant(f"{scope}.bias", bias)], f"{scope}/conv")
        else:
            x = self.compute.leave(graph.op("Conv", [x, constant], f"{scope}/conv"), f"{scope}/float32")
            x = graph.op("Mul", [x, parts.scale], f"{scope}/rescale")
            x = graph.op("Add", [x, graph.constant(f"{scope}.bias", bias[:, None, None])], f"{scope}/add_bias")
        if self.clamp is not None:
            x = self.full.clip(x, f"{scope}/clamp", self.clamp * gain)
        if previous is None:
            return x
        previous = self.upsampler.resample(scope, previous, self.img_channels, self.full)
        return graph.op("Add", [previous, x], f"{scope}/sum")

    def affine(self, name: str) -> Affine:
        inputs = self.extent(f"{name}.weight", 1)
        weight = self.tensor(f"{name}.affine.weight", inputs, self.w_dim)
        return weight, self.tensor(f"{name}.affine.bias", inputs)

    def extent(self, name: str, axis: int) -> int:
        """Return one extent of a tensor; widths come from the tensors, because the config does not have all of them."""
        array = self.checkpoint.tensors.get(f"synthesis.{name}")
        if array is None or array.ndim <= axis:
            raise CheckpointError(f"the checkpoint has no tensor 'synthesis.{name}' with at least {axis + 1} axes")
        return int(array.shape[axis])

    def tensor(self, name: str, *shape: int) -> NDArray[np.float32]:
        return self.checkpoint.tensor(f"synthesis.{name}", *shape)
