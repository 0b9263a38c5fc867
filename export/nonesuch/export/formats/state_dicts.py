"""Recognises the port of StyleGAN that a dict of tensors comes from, by the tensor names.

A file is a dict with the tensors under a key (`g_ema`, `params_ema`, ...), or is the dict of tensors itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nonesuch.engine.errors import CheckpointError

from ..checkpoint import Checkpoint
from .genforce import convert_genforce
from .inert import Inert, plain_text
from .read_limits import ReadLimits
from .rosinality import convert_basicsr, convert_rosinality
from .source_tensors import SourceTensors
from .stored_array import StoredArray
from .stored_tensor import StoredTensor

# The keys of the generator, its moving average first, which makes better pictures; None is the file itself.
_KEYS = ("g_ema", "params_ema", "generator_smooth", "params", "generator", "GAN", "state_dict", None)

_CONVERTERS: list[tuple[tuple[str, ...], Callable[[SourceTensors], Checkpoint]]] = [
    (("style.1.weight", "convs.0.conv.weight", "input.input"), convert_rosinality),
    (("style_mlp.1.weight", "style_convs.0.modulated_conv.weight", "constant_input.weight"), convert_basicsr),
    (("mapping.dense0.weight", "synthesis.layer0.weight", "synthesis.early_layer.const"), convert_genforce),
]

# Marker (the name of a tensor, or a prefix if it ends with a dot) -> what the file is, and what to do.
_TEACHER = "a StyleGAN2 converted for MobileStyleGAN's training; use the original checkpoint"
_LUCIDRAINS = "lucidrains' stylegan2_pytorch, a different network, which is not supported"
_BIGGAN = "BigGAN or another network without a mapping network, which is not supported"
_WITHOUT_ATTRIBUTES = (
    "without the attributes of its layers; use the original pickle, or the folder of a converted checkpoint"
)
_UNSUPPORTED = {
    "generator_ema.": "an mmgen or mmagic checkpoint, which is not supported",
    "student.": "a MobileStyleGAN training checkpoint, which is not supported; use the PyPI model random-face",
    "stylegan_decoder.": "GFPGAN, a restoration network whose generator takes conditions, which is not supported",
    "SE.": _LUCIDRAINS,
    "GE.": _LUCIDRAINS,
    "decoder.style.1.weight": "an encoder (pSp, e4e, restyle) around a generator; use the generator's own checkpoint",
    "generator.style.1.weight": "a GPEN-like restoration network around a generator, which is not supported",
    "synthesis.b4.conv1.affine.weight": f"bare tensors of NVIDIA's StyleGAN2 {_WITHOUT_ATTRIBUTES}",
    "synthesis.input.freqs": f"bare tensors of NVIDIA's StyleGAN3 {_WITHOUT_ATTRIBUTES}",
    "synthesis.blocks.0.up.affine.weight": "the tensors of a converted checkpoint; use its folder",
    "gen_z.weight": _BIGGAN,
    "generator.gen_z.weight": _BIGGAN,
    "linear.weight": _BIGGAN,
    "layers.0.conv1.conv.weight": _TEACHER,
    "layers.1.weight": _TEACHER,
    "main.": "FastGAN (for example of projected GAN) or DCGAN, which is not supported",
    "g_synthesis.": "a StyleGAN1 port, which is not supported",
    "synthesis.blocks.4x4.const": "a StyleGAN1 port, which is not supported",
    "model.diffusion_model.": "a diffusion model, not a StyleGAN",
}


def convert_state_dict(value: Any, label: str, content_bytes: int, limits: ReadLimits) -> Checkpoint:
    """Recognise and convert the tensors of a file.

    Args:
        value: the content of the file.
        label: the file's name in errors.
        content_bytes: size of the file's content.
        limits: limits on sizes and counts.

    Raises:
        CheckpointError: the network is unknown or unsupported; names the marker or the content.
    """
    if not isinstance(value, dict):
        raise CheckpointError(f"{label}: contains {plain_text(value)}, not a dict of a generator's tensors")
    for tensors in _tensor_dicts(value):
        for markers, convert in _CONVERTERS:
            if all(marker in tensors for marker in markers):
                average = value.get("latent_avg")
                extra = {} if average is None or "latent_avg" in tensors else {"latent_avg": average}
                return convert(SourceTensors({**tensors, **extra}, label, content_bytes, limits))
    for tensors in _tensor_dicts(value):
        _refuse_known(tensors, label)
    for key in _KEYS[:-1]:
        if isinstance(value.get(key), Inert):
            raise CheckpointError(
                f"{label}: {key!r} is {plain_text(value[key])}, not a dict of tensors; save its state_dict() instead"
            )
    first = ", ".join(repr(str(key)[:40]) for key in list(value)[:5])
    raise CheckpointError(f"{label}: not a known generator; the file is a dict of {len(value)} with {first}")


def _tensor_dicts(value: dict[Any, Any]) -> Iterator[dict[str, Any]]:
    """Yield the dicts of tensors in a file, without the prefix of data-parallel training."""
    for key in _KEYS:
        tensors = value if key is None else value.get(key)
        if isinstance(tensors, dict) and any(_is_tensor(item) for item in tensors.values()):
            named = {name: item for name, item in tensors.items() if isinstance(name, str)}
            if all(name.startswith("module.") for name in named):
                named = {name.removeprefix("module."): item for name, item in named.items()}
            yield named


def _refuse_known(tensors: dict[str, Any], label: str) -> None:
    for marker, what in _UNSUPPORTED.items():
        if marker in tensors or (marker.endswith(".") and any(name.startswith(marker) for name in tensors)):
            raise CheckpointError(f"{label}: {what} (it has tensors named {marker!r})")


def _is_tensor(value: Any) -> bool:
    return isinstance(value, StoredTensor | StoredArray | np.ndarray)
