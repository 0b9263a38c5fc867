"""The StyleGAN3 synthesis network (T and R) as ONNX, built directly from a checkpoint.

    ws [N, num_ws, w_dim], transform [N, 3, 3] -> Fourier features -> L0 -> L1 -> ... -> to RGB -> * output_scale

Every layer is
    modulate -> convolve -> demodulate -> + bias -> up-sample -> leaky ReLU 0.2, gain sqrt 2 -> clamp -> down-sample,
the last one only modulate -> convolve 1x1 -> + bias -> clamp. Sizes, factors, padding and filters are the checkpoint's.
Source: Karras et al., "Alias-Free Generative Adversarial Networks", arXiv 2106.12423, section 3 and appendix D.

Folded at build time: the normalisation of weights; the tracked input gain and the activation's gain into the
demodulation and the bias; the output scale and the factor of 8-bit pictures into the RGB layer. Training also divides
styles by their mean over the batch. The graph omits this: the demodulation cancels it, and a picture must not depend on
the rest of the batch.

Widths such as 81 or 323 are rounded up to a multiple of 8: vector units and tensor cores work on 8 channels or more,
and a depthwise convolution of ONNX Runtime takes half the time. The next layer's style is zero for added channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError, UnsupportedError
from nonesuch.engine.manifest import WsIndex

from ..checkpoint import Checkpoint
from .filtered_lrelu import FORMS as ACTIVATION_FORMS
from .filtered_lrelu import FilteredLrelu
from .fp16_typing import FP16_CLAMP, ComputeType
from .graph_builder import GraphBuilder
from .image_output import image_output, image_scale
from .linear import Linear
from .modulated_conv import Modulator
from .resampling import Resampling
from .stylegan3_input import FourierInput
from .styles import Affine, StyleReader
from .synthesis_builder import VariantOptions

FORMS = ACTIVATION_FORMS
"""Forms of the activations, the default first."""

RUNTIME_FORMS = {"tensorrt": "transposed"}
"""In this form TensorRT has a third fewer kernels than in the default, and uses less memory (docs/tensorrt.md)."""

_GAIN = math.sqrt(2.0)
_WIDTH_STEP = 8
_FP16_OCTAVES = 4
"""Layers above a sixteenth of the final sampling rate run in float16, as in training; coarser ones are cheap and stay
float32."""


def ws_layout(checkpoint: Checkpoint) -> list[WsIndex]:
    """Return the layers that read each index of `ws`: first the input, then each layer.

    Raises:
        CheckpointError: the config's `num_ws` does not match its layers.
    """
    config = checkpoint.config
    layers = [WsIndex(i + 1, int(layer["out_size"]), (f"L{i}",)) for i, layer in enumerate(config["layers"])]
    if int(config["num_ws"]) != len(layers) + 1:
        raise CheckpointError(
            f"the config has num_ws {config['num_ws']} and {len(layers)} layers; expected num_ws {len(layers) + 1}"
        )
    return [WsIndex(0, int(config["input"]["size"]), ("input",)), *layers]


def build_synthesis(checkpoint: Checkpoint, options: VariantOptions) -> ir.Model:
    """Build `synthesis.onnx`: inputs `ws float32 [N, num_ws, w_dim]` and `transform float32 [N, 3, 3]`, output `image`.

    The transform replaces the checkpoint's `synthesis.input.transform`. It maps points of the picture (without its
    margin 1 wide, centre at 0, x to the right and y down) to points of the network's own plane, so it is the inverse of
    the picture's motion. A float picture is not clamped.

    Raises:
        CheckpointError: a tensor is missing, its shape does not match the config, or the config is invalid.
        UnsupportedError: the family does not support this form of up-sampling, or random noise.
    """
    return _Synthesis(checkpoint, options).build()


class _Synthesis:
    def __init__(self, checkpoint: Checkpoint, options: VariantOptions) -> None:
        config = checkpoint.config
        if options.noise == "random":
            raise UnsupportedError(f"family {checkpoint.family!r} has no noise inputs; use noise 'const' or 'none'")
        self.checkpoint = checkpoint
        self.options = options
        self.layout = ws_layout(checkpoint)
        self.w_dim, self.resolution = int(config["w_dim"]), int(config["resolution"])
        clamp = config["conv_clamp"]
        # Without a clamp in the checkpoint, float16 gets the one used to train float16 networks.
        self.clamp = float(clamp) if clamp is not None else FP16_CLAMP if options.precision == "fp16" else None
        self.graph = GraphBuilder("synthesis")
        self.ws = self.graph.input("ws", ir.DataType.FLOAT, ["N", len(self.layout), self.w_dim])
        self.transform = self.graph.input("transform", ir.DataType.FLOAT, ["N", 3, 3])
        self.linear = Linear(self.graph, options.linear)
        self.full, self.fast = (ComputeType(self.graph, precision) for precision in ("fp32", options.precision))
        form = options.upsampling_form(FORMS, checkpoint.family)
        self.activation = FilteredLrelu(self.graph, form, self.clamp)
        self.reader = StyleReader(self.graph, self.linear, self.ws)

    def build(self) -> ir.Model:
        config = self.checkpoint.config
        x, compute = self.input(), self.full
        width, size, rate = int(config["input"]["channels"]), int(config["input"]["size"]), self.sampling_rate
        *layers, last = config["layers"]
        for index, layer in enumerate(layers):
            self.check_layer(index, layer, width, size, is_torgb=False)
            rate *= int(layer["up_factor"]) / int(layer["down_factor"])
            x, compute = self.enter(index, x, compute, rate)
            x = self.layer(f"L{index}", index, x, layer, compute)
            width, size = int(layer["out_channels"]), int(layer["out_size"])
        self.check_layer(len(layers), last, width, size, is_torgb=True)
        found, expected = (int(last["out_channels"]), size), (int(config["img_channels"]), self.resolution)
        if found != expected:
            raise CheckpointError(f"the RGB layer has (channels, pixels) {found}, but the config has {expected}")
        x, compute = self.enter(len(layers), x, compute, rate)
        x = self.to_rgb(f"L{len(layers)}", len(layers), x, last, compute)
        return image_output(self.graph, x, self.options, int(config["img_channels"]), self.resolution)

    @property
    def sampling_rate(self) -> float:
        return float(self.checkpoint.config["input"]["sampling_rate"])

    def input(self) -> ir.Value:
        config = self.checkpoint.config["input"]
        channels, size = int(config["channels"]), int(config["size"])
        affine = (self.tensor("input.affine.weight", 4, self.w_dim), self.tensor("input.affine.bias", 4))
        motion = self.linear.leave(self.reader.read(0, {"input": affine})["input"], "input/motion")
        frequencies, phases = self.tensor("input.freqs", channels, 2), self.tensor("input.phases", channels)
        waves = FourierInput(self.graph, size, self.sampling_rate, float(config["bandwidth"]))
        x = waves.apply(motion, self.transform, frequencies, phases)
        weight = _widen_outputs(self.tensor("input.weight", channels, channels))[:, :, None, None]
        return self.graph.op("Conv", [x, self.graph.constant("input.weight", weight)], "input/conv")

    def enter(self, index: int, x: ir.Value, compute: ComputeType, rate: float) -> tuple[ir.Value, ComputeType]:
        """Return the layer's input and type: float16 from the first layer with a high enough output rate."""
        if compute is self.fast or not self.fast.half or rate * 2**_FP16_OCTAVES <= self.resolution:
            return x, compute
        return self.fast.enter(x, f"L{index}/half"), self.fast

    def layer(self, scope: str, index: int, x: ir.Value, layer: Mapping[str, Any], compute: ComputeType) -> ir.Value:
        graph, kernel, size = self.graph, int(layer["conv_kernel"]), int(layer["in_size"])
        outputs = int(layer["out_channels"])
        weight = self.tensor(f"{scope}.weight", outputs, int(layer["in_channels"]), kernel, kernel)
        weight = _widen_outputs(_widen_inputs(_normalize(weight)))
        parts = Modulator(graph, compute, self.linear).demodulated(
            scope, self.style(scope, index, layer), weight, self.input_gain(scope) * _GAIN
        )
        x = graph.op("Mul", [x, parts.style], f"{scope}/modulate")
        constant = compute.constant(f"{scope}.weight", parts.weight)
        x = graph.op("Conv", [x, constant], f"{scope}/conv", pads=[kernel - 1] * 4)
        x = graph.op("Mul", [x, parts.scale], f"{scope}/demodulate")
        bias = _widen_outputs(self.tensor(f"{scope}.bias", outputs) * np.float32(_GAIN))
        x = graph.op("Add", [x, compute.constant(f"{scope}.bias", bias[:, None, None])], f"{scope}/add_bias")
        resampling, size = self.resampling(scope, layer), size + kernel - 1
        if resampling.up % resampling.down:
            raise CheckpointError(
                f"layer {scope} resamples by {resampling.up}/{resampling.down}, which is not supported"
            )
        if resampling.output_size(size) != int(layer["out_size"]):
            raise CheckpointError(f"layer {scope} does not map {layer['in_size']} pixels to {layer['out_size']}")
        return self.activation.apply(scope, x, len(weight), size, resampling, compute)

    def to_rgb(self, scope: str, index: int, x: ir.Value, layer: Mapping[str, Any], compute: ComputeType) -> ir.Value:
        """Build the RGB layer, float32, times `image_scale`."""
        graph, outputs = self.graph, int(layer["out_channels"])
        gain = float(self.checkpoint.config["output_scale"]) * image_scale(self.options)
        weight = _widen_inputs(self.tensor(f"{scope}.weight", outputs, int(layer["in_channels"]), 1, 1))
        bias = self.tensor(f"{scope}.bias", outputs) * np.float32(gain)
        parts = Modulator(graph, compute, self.linear).plain(
            scope, self.style(scope, index, layer), weight, self.input_gain(scope) * gain
        )
        x = graph.op("Mul", [x, parts.style], f"{scope}/modulate")
        constant = compute.constant(f"{scope}.weight", parts.weight)
        if parts.scale is None:
            x = graph.op("Conv", [x, constant, graph.constant(f"{scope}.bias", bias)], f"{scope}/conv")
        else:
            x = compute.leave(graph.op("Conv", [x, constant], f"{scope}/conv"), f"{scope}/float32")
            x = graph.op("Mul", [x, parts.scale], f"{scope}/rescale")
            x = graph.op("Add", [x, graph.constant(f"{scope}.bias", bias[:, None, None])], f"{scope}/add_bias")
        return x if self.clamp is None else self.full.clip(x, f"{scope}/clamp", self.clamp * gain)

    def style(self, scope: str, index: int, layer: Mapping[str, Any]) -> ir.Value:
        inputs = int(layer["in_channels"])
        weight = self.tensor(f"{scope}.affine.weight", inputs, self.w_dim)
        affine: Affine = _widen(weight, 0), _widen(self.tensor(f"{scope}.affine.bias", inputs), 0)
        return self.reader.read(index + 1, {scope: affine})[scope]

    def input_gain(self, scope: str) -> float:
        """Return the gain that scales the layer's input to unit variance, from the variance tracked in training."""
        magnitude = float(self.tensor(f"{scope}.magnitude_ema"))
        if not magnitude > 0:
            raise CheckpointError(f"tensor 'synthesis.{scope}.magnitude_ema' is {magnitude:g}, not positive")
        return 1 / math.sqrt(magnitude)

    def resampling(self, scope: str, layer: Mapping[str, Any]) -> Resampling:
        left, right, top, bottom = (int(p) for p in layer["padding"])
        if (left, right) != (top, bottom):
            raise CheckpointError(f"layer {scope} pads rows and columns differently, which is not supported")
        filters = [self.filter(f"{scope}.{which}_filter") for which in ("up", "down")]
        return Resampling(int(layer["up_factor"]), int(layer["down_factor"]), filters[0], filters[1], (left, right))

    def filter(self, name: str) -> NDArray[np.float64]:
        array = self.checkpoint.tensors.get(f"synthesis.{name}", np.ones(1, dtype=np.float32))
        axes = (1,) if name.endswith("up_filter") else (1, 2)
        if array.ndim not in axes or len(set(array.shape)) > 1 or array.size == 0:
            raise CheckpointError(f"tensor 'synthesis.{name}' has shape {array.shape}, which is not valid for a filter")
        return array.astype(np.float64)

    def check_layer(self, index: int, layer: Mapping[str, Any], width: int, size: int, *, is_torgb: bool) -> None:
        """Check that a layer's input matches the previous layer's output."""
        found = int(layer["in_channels"]), int(layer["in_size"]), bool(layer["is_torgb"])
        if found != (width, size, is_torgb):
            raise CheckpointError(f"layer L{index} has (channels, size, to RGB) {found}, not {(width, size, is_torgb)}")

    def tensor(self, name: str, *shape: int) -> NDArray[np.float32]:
        return self.checkpoint.tensor(f"synthesis.{name}", *shape)


def _normalize(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale [O, I, k, k] to a mean square of 1 for each output channel; the demodulation's epsilon relies on it."""
    mean = np.square(weight, dtype=np.float64).mean(axis=(1, 2, 3), keepdims=True)
    return (weight / np.sqrt(np.where(mean > 0, mean, 1))).astype(np.float32)


def _widen(array: NDArray[np.float32], axis: int, mode: str = "constant") -> NDArray[np.float32]:
    """Pad one axis to a multiple of _WIDTH_STEP."""
    extra = [(0, -array.shape[axis] % _WIDTH_STEP if index == axis else 0) for index in range(array.ndim)]
    return np.pad(array, extra, mode=mode)  # type: ignore[call-overload,no-any-return]


def _widen_inputs(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add input channels of zeros."""
    return _widen(weight, 1)


def _widen_outputs(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add copies of the last output channel; the demodulation of zeros would divide by epsilon."""
    return _widen(array, 0, "edge")
