"""Converts StyleGAN2 and StyleGAN2-ADA from the TensorFlow-era pickles: (G, D, Gs), each a Network with variables.

Only the variables and keyword arguments of a Network are used; its source text is ignored. TensorFlow stores weights as
[k, k, I, O], and those of Conv0_up for a convolution instead of its transpose, so they are flipped; styles get 1 added
at run time.
Maths: Karras et al., arXiv 1912.04958, appendix B; the names are those of the variables.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nonesuch.engine.errors import CheckpointError

from ..checkpoint import Checkpoint
from .inert import Inert, attribute, plain_text
from .read_limits import ReadLimits
from .source_tensors import SourceTensors
from .stylegan2_parts import Stylegan2Parts, filter_taps

_SYNTHESIS = ("G_synthesis_stylegan2", "G_synthesis")
_DEFAULTS: dict[str, Any] = {  # of the keyword arguments that change the network; a pickle omits defaults
    "mapping_lrmul": 0.01,
    "mapping_nonlinearity": "lrelu",
    "normalize_latents": True,
    "nonlinearity": "lrelu",
    "use_wscale": True,
    "architecture": "skip",
    "resample_kernel": [1, 3, 3, 1],
    "conv_clamp": None,
    "use_noise": True,
}
_FIXED_ARGUMENTS = ("mapping_nonlinearity", "normalize_latents", "nonlinearity", "use_wscale", "use_noise")


def is_tensorflow(value: Any) -> bool:
    """Whether a pickled object is the (G, D, Gs) of the TensorFlow era."""
    return isinstance(value, tuple | list) and len(value) == 3 and isinstance(attribute(value[2], "variables"), list)


def convert_tensorflow(value: Any, label: str, content_bytes: int, limits: ReadLimits) -> Checkpoint:
    """Return the canonical checkpoint of Gs, the moving average of the generator.

    Args:
        value: an object that `is_tensorflow` accepted.
        label: the file's name in errors.
        content_bytes: the size of the file.
        limits: limits on sizes and counts.

    Raises:
        CheckpointError: it is StyleGAN1, or a variable is missing or does not fit.
    """
    network = value[2]
    version = attribute(network, "version")
    components = attribute(network, "components")
    if not isinstance(components, dict) or not {"mapping", "synthesis"} <= components.keys():
        raise CheckpointError(
            f"{label}: a TensorFlow network without mapping and synthesis, such as ProGAN, which is not supported"
        )
    builder = attribute(components["synthesis"], "build_func_name")
    if not isinstance(version, int) or version < 4 or builder not in _SYNTHESIS:  # version of the pickle layout
        raise CheckpointError(
            f"{label}: StyleGAN1 (or another older TensorFlow network: version {plain_text(version)}, build function "
            f"{plain_text(builder)}), which is not supported; only StyleGAN2 and StyleGAN2-ADA are"
        )
    variables: dict[str, Any] = {}
    for prefix, part in (("", network), ("mapping/", components["mapping"]), ("synthesis/", components["synthesis"])):
        variables |= _variables(part, prefix, label)
    arguments = attribute(network, "static_kwargs")
    return _Converter(SourceTensors(variables, label, content_bytes, limits), arguments).convert()


def _variables(network: Any, prefix: str, label: str) -> dict[str, Any]:
    pairs = attribute(network, "variables")
    if not isinstance(network, Inert) or not isinstance(pairs, list):
        raise CheckpointError(f"{label}: a TensorFlow network without variables")
    result = {}
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise CheckpointError(f"{label}: a variable of the TensorFlow network has no name")
        result[f"{prefix}{pair[0]}"] = pair[1]
    return result


class _Converter:
    def __init__(self, source: SourceTensors, arguments: Any) -> None:
        self.source = source
        self.parts = Stylegan2Parts(source.label)
        self.w_dim = 0
        given = arguments if isinstance(arguments, dict) else {}
        self.arguments = {name: given.get(name, default) for name, default in _DEFAULTS.items()}
        for name in _FIXED_ARGUMENTS:
            value, supported = self.arguments[name], _DEFAULTS[name]
            if type(value) is not type(supported) or value != supported:
                raise self.error(f"{name} is {plain_text(value)}; only {supported} is supported")

    def error(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.source.label}: {what}")

    def number(self, name: str) -> float:
        value = self.arguments[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e3:
            raise self.error(f"the argument {name} is not a number between 0 and 1000")
        return float(value)

    def convert(self) -> Checkpoint:
        architecture = self.arguments["architecture"]
        if architecture not in ("skip", "orig", "resnet"):
            raise self.error(f"architecture {plain_text(architecture)} is unknown")
        self.parts.put_filter(self.taps())
        c_dim = self.mapping()
        const = self.source.take("synthesis/4x4/Const/const", 1, None, 4, 4)
        self.parts.tensors["synthesis.input"] = const
        features = self.layer("Conv", "conv1", const.shape[1])
        while True:
            self.parts.channels.append(features)
            resolution = 2 * self.parts.resolution
            last = f"synthesis/{resolution}x{resolution}/Conv1/weight" not in self.source
            if last or architecture == "skip":
                self.torgb(features)
            if last:
                break
            self.parts.next_block()
            inputs = features
            features = self.layer("Conv0_up", "conv0", inputs)
            features = self.layer("Conv1", "conv1", features)
            if architecture == "resnet":
                weight = self.source.take(f"{self.scope()}/Skip/weight", 1, 1, inputs, features)
                self.parts.put_skip(weight.transpose(3, 2, 0, 1))
        if "dlatent_avg" in self.source:
            self.parts.tensors["w_avg"] = self.source.take("dlatent_avg", self.w_dim)
        self.source.ignore(["lod", "synthesis/lod"])
        self.source.finish()
        clamp = None if self.arguments["conv_clamp"] is None else self.number("conv_clamp")
        return self.parts.checkpoint("nvidia-tensorflow", c_dim, str(architecture), clamp)

    def taps(self) -> list[float]:
        kernel = self.arguments["resample_kernel"]
        numbers = isinstance(kernel, list | tuple) and all(type(tap) in (int, float) for tap in kernel)
        if not numbers or not all(0 <= tap < 1e6 for tap in kernel):
            raise self.error("the argument resample_kernel is not a list of numbers from 0 to 1e6")
        taps = np.array(kernel, dtype=np.float64)
        if not taps.sum() > 0:
            raise self.error("the argument resample_kernel has no positive sum")
        return filter_taps((taps / taps.sum()).astype(np.float32), 1.0, f"{self.source.label}: resample_kernel")

    def mapping(self) -> int:
        """Take the mapping network; return the size of its labels."""
        lr_mul = self.number("mapping_lrmul")
        if "mapping/LabelConcat/weight" in self.source:
            raise self.error("a conditional StyleGAN2 of the TensorFlow code (LabelConcat), which is not supported")
        names = [f"mapping/Dense{index}" for index in range(100) if f"mapping/Dense{index}/weight" in self.source]
        if not names:
            raise self.error("tensor 'mapping/Dense0/weight' is missing")
        self.w_dim = int((*self.source.shape(f"{names[-1]}/weight"), 0)[1])
        c_dim = 0
        if "mapping/LabelEmbed/weight" in self.source:
            weight = self.source.take("mapping/LabelEmbed/weight", None, self.w_dim)
            self.parts.put_embed(weight.T, self.source.take("mapping/LabelEmbed/bias", self.w_dim))
            c_dim = int(weight.shape[0])
        features: int | None = None
        for name in names:
            weight = self.source.take(f"{name}/weight", features, self.w_dim)
            self.parts.put_mapping(weight.T, self.source.take(f"{name}/bias", self.w_dim), lr_mul)
            features = self.w_dim
        return c_dim

    def scope(self) -> str:
        return f"synthesis/{self.parts.resolution}x{self.parts.resolution}"

    def layer(self, source_name: str, part: str, features: int) -> int:
        """Take a modulated convolution; return its output channels."""
        name, resolution = f"{self.scope()}/{source_name}", self.parts.resolution
        weight = self.source.take(f"{name}/weight", 3, 3, features, None).transpose(3, 2, 0, 1)
        if part == "conv0":
            weight = weight[:, :, ::-1, ::-1]
        bias = self.source.take(f"{name}/bias", weight.shape[0])
        index = 2 * int(math.log2(resolution)) - (5 if part == "conv0" else 4)
        noise = self.source.take(f"synthesis/noise{index}", 1, 1, resolution, resolution)[0, 0]
        strength = self.source.take(f"{name}/noise_strength")
        self.affine(name, part, features)
        return self.parts.put_layer(part, weight, bias, noise, strength)

    def torgb(self, features: int) -> None:
        name = f"{self.scope()}/ToRGB"
        weight = self.source.take(f"{name}/weight", 1, 1, features, None).transpose(3, 2, 0, 1)
        self.affine(name, "torgb", features)
        self.parts.put_torgb(weight, self.source.take(f"{name}/bias", weight.shape[0]))

    def affine(self, name: str, part: str, features: int) -> None:
        weight = self.source.take(f"{name}/mod_weight", self.w_dim, features)
        bias = self.source.take(f"{name}/mod_bias", features)
        self.parts.put_affine(part, weight.T, bias + np.float32(1))
