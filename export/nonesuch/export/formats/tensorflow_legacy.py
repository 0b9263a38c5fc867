"""StyleGAN2 and StyleGAN2-ADA out of the TensorFlow-era pickles: (G, D, Gs), each a Network with its variables.

The source text in a Network is never looked at; variables and keyword arguments are all there is to know.
TensorFlow stores convolutions as [k, k, I, O], and those of Conv0_up for a convolution rather than for its transpose,
so they are flipped; styles get 1 added when they run.
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
from .resample_filter import filter_taps
from .source_tensors import SourceTensors
from .stylegan2_parts import Stylegan2Parts

__all__ = ["convert_tensorflow", "is_tensorflow"]

_SYNTHESIS = ("G_synthesis_stylegan2", "G_synthesis")
_DEFAULTS: dict[str, Any] = {  # of the keyword arguments that change the network; a pickle leaves defaults out
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
_ONLY = ("mapping_nonlinearity", "normalize_latents", "nonlinearity", "use_wscale", "use_noise")


def is_tensorflow(value: Any) -> bool:
    """Whether a pickled object is the (G, D, Gs) of the TensorFlow era."""
    return isinstance(value, tuple | list) and len(value) == 3 and isinstance(attribute(value[2], "variables"), list)


def convert_tensorflow(value: Any, label: str, content_bytes: int, limits: ReadLimits) -> Checkpoint:
    """The canonical checkpoint of Gs, the moving average of the generator.

    Args:
        value: what `is_tensorflow` accepted.
        label: the file's name in errors.
        content_bytes: the size of the file.
        limits: what the file may ask for.

    Raises:
        CheckpointError: it is StyleGAN1, or a variable is missing or does not fit.
    """
    network = value[2]
    version = attribute(network, "version")
    components = attribute(network, "components")
    if not isinstance(components, dict) or not {"mapping", "synthesis"} <= components.keys():
        raise CheckpointError(f"{label}: a TensorFlow network without mapping and synthesis: ProGAN or another old one")
    builder = attribute(components["synthesis"], "build_func_name")
    if not isinstance(version, int) or version < 4 or builder not in _SYNTHESIS:  # the version of the pickled layout
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
        for name in _ONLY:
            value, only = self.arguments[name], _DEFAULTS[name]
            if type(value) is not type(only) or value != only:
                raise self.wrong(f"{name} is {plain_text(value)}; only {only} is supported")

    def wrong(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.source.label}: {what}")

    def number(self, name: str) -> float:
        value = self.arguments[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e3:
            raise self.wrong(f"the argument {name} is no number between 0 and 1000")
        return float(value)

    def convert(self) -> Checkpoint:
        architecture = self.arguments["architecture"]
        if architecture not in ("skip", "orig", "resnet"):
            raise self.wrong(f"architecture {plain_text(architecture)} is not known")
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
            above = features
            features = self.layer("Conv0_up", "conv0", above)
            features = self.layer("Conv1", "conv1", features)
            if architecture == "resnet":
                weight = self.source.take(f"{self.scope()}/Skip/weight", 1, 1, above, features)
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
            raise self.wrong("the argument resample_kernel is no list of reasonable numbers")
        taps = np.array(kernel, dtype=np.float64)
        if not taps.sum() > 0:
            raise self.wrong("the argument resample_kernel has no positive sum")
        return filter_taps((taps / taps.sum()).astype(np.float32), 1.0, f"{self.source.label}: resample_kernel")

    def mapping(self) -> int:
        """Takes the mapping network; returns the size of its labels."""
        lr_mul = self.number("mapping_lrmul")
        if "mapping/LabelConcat/weight" in self.source:
            raise self.wrong("a conditional StyleGAN2 of the TensorFlow code (LabelConcat), which is not supported")
        names = [f"mapping/Dense{index}" for index in range(100) if f"mapping/Dense{index}/weight" in self.source]
        if not names:
            raise self.wrong("tensor 'mapping/Dense0/weight' is missing")
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

    def layer(self, theirs: str, part: str, features: int) -> int:
        """A modulated convolution; returns its output channels."""
        name, resolution = f"{self.scope()}/{theirs}", self.parts.resolution
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
