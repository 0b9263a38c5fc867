"""Which port of StyleGAN a bare collection of tensors comes from, by the names of its tensors.

A file is a dict that holds such a collection under a key (`g_ema`, `params_ema`, ...), or is one itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nonesuch.engine.errors import CheckpointError

from ..checkpoint import Checkpoint
from .basicsr import convert_basicsr
from .genforce import convert_genforce
from .inert import Inert, plain_text
from .read_limits import ReadLimits
from .rosinality import convert_rosinality
from .source_tensors import SourceTensors
from .stored_array import StoredArray
from .stored_tensor import StoredTensor

__all__ = ["convert_state_dict"]

# Where a file keeps the moving average of the generator, which makes the better pictures; the last is the file itself.
_KEYS = ("g_ema", "params_ema", "generator_smooth", "params", "generator", "GAN", "state_dict", None)

_READ: list[tuple[tuple[str, ...], Callable[[SourceTensors], Checkpoint]]] = [
    (("style.1.weight", "convs.0.conv.weight", "input.input"), convert_rosinality),
    (("style_mlp.1.weight", "style_convs.0.modulated_conv.weight", "constant_input.weight"), convert_basicsr),
    (("mapping.dense0.weight", "synthesis.layer0.weight", "synthesis.early_layer.const"), convert_genforce),
]

# Marker (the name of a tensor, or what names begin with if it ends with a dot) -> what it is, and what to do.
_TEACHER = "a StyleGAN2 as MobileStyleGAN's training converts it, which is not supported; give the original checkpoint"
_LUCIDRAINS = "lucidrains' stylegan2_pytorch, a network of its own kind, which is not supported"
_BIGGAN = "BigGAN or another network without a mapping network, which is not supported"
_BARE = "without the attributes of its layers; give the original pickle, or the folder of a converted checkpoint"
_REFUSED = {
    "generator_ema.": "an mmgen or mmagic checkpoint, which is not supported",
    "student.": "a MobileStyleGAN training checkpoint, which is not supported; the PyPI model random-face is",
    "stylegan_decoder.": "GFPGAN, a restoration network whose generator takes conditions, which is not supported",
    "SE.": _LUCIDRAINS,
    "GE.": _LUCIDRAINS,
    "decoder.style.1.weight": "an encoder (pSp, e4e, restyle) around a generator; give the generator's own checkpoint",
    "generator.style.1.weight": "a GPEN-like restoration network around a generator, which is not supported",
    "synthesis.b4.conv1.affine.weight": f"bare tensors of NVIDIA's StyleGAN2 {_BARE}",
    "synthesis.input.freqs": f"bare tensors of NVIDIA's StyleGAN3 {_BARE}",
    "synthesis.blocks.0.up.affine.weight": "the tensors of a converted checkpoint; give its folder",
    "gen_z.weight": _BIGGAN,
    "generator.gen_z.weight": _BIGGAN,
    "linear.weight": _BIGGAN,
    "layers.0.conv1.conv.weight": _TEACHER,
    "layers.1.weight": _TEACHER,
    "main.": "FastGAN (of projected GAN, say) or DCGAN, which is not supported",
    "g_synthesis.": "a StyleGAN1 port, which is not supported",
    "synthesis.blocks.4x4.const": "a StyleGAN1 port, which is not supported",
    "model.diffusion_model.": "a diffusion model, not a StyleGAN",
}


def convert_state_dict(value: Any, label: str, content_bytes: int, limits: ReadLimits) -> Checkpoint:
    """Recognise and convert the tensors of a file.

    Args:
        value: what the file holds.
        label: the file's name in errors.
        content_bytes: size of the file's content.
        limits: what the file may ask for.

    Raises:
        CheckpointError: it is no known network; names the marker or what was found instead.
    """
    if not isinstance(value, dict):
        raise CheckpointError(f"{label}: holds {plain_text(value)}, not a dict with the tensors of a generator")
    for tensors in _collections(value):
        for markers, convert in _READ:
            if all(marker in tensors for marker in markers):
                average = value.get("latent_avg")
                extra = {} if average is None or "latent_avg" in tensors else {"latent_avg": average}
                return convert(SourceTensors({**tensors, **extra}, label, content_bytes, limits))
    for tensors in _collections(value):
        _refuse_known(tensors, label)
    for key in _KEYS[:-1]:
        if isinstance(value.get(key), Inert):
            raise CheckpointError(
                f"{label}: {key!r} is {plain_text(value[key])}, not a dict of tensors; save its state_dict() instead"
            )
    first = ", ".join(repr(str(key)[:40]) for key in list(value)[:5])
    raise CheckpointError(f"{label}: no generator that is known here; the file is a dict of {len(value)} with {first}")


def _collections(value: dict[Any, Any]) -> Iterator[dict[str, Any]]:
    """The dicts of tensors in a file, without the prefix of data-parallel training."""
    for key in _KEYS:
        tensors = value if key is None else value.get(key)
        if isinstance(tensors, dict) and any(_is_tensor(item) for item in tensors.values()):
            named = {name: item for name, item in tensors.items() if isinstance(name, str)}
            if all(name.startswith("module.") for name in named):
                named = {name.removeprefix("module."): item for name, item in named.items()}
            yield named


def _refuse_known(tensors: dict[str, Any], label: str) -> None:
    for marker, what in _REFUSED.items():
        if marker in tensors or (marker.endswith(".") and any(name.startswith(marker) for name in tensors)):
            raise CheckpointError(f"{label}: {what} (it has tensors named {marker!r})")


def _is_tensor(value: Any) -> bool:
    return isinstance(value, StoredTensor | StoredArray | np.ndarray)
