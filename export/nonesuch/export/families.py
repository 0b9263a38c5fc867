"""The network families that can be exported: which builder makes the graph, and which reference holds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from nonesuch.engine.errors import CheckpointError
from nonesuch.engine.manifest import WsIndex

from .checkpoint import Checkpoint
from .graphs import mobilestylegan

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["FAMILIES", "BuiltVariant", "Family", "find_family"]


@dataclass(frozen=True)
class BuiltVariant:
    """A synthesis graph and the words with which a manifest describes it."""

    model: ir.Model
    upsampling: str
    noise: Literal["const", "none", "random"]
    runtimes: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """What the exporter needs to know of a family."""

    name: str
    ws_layout: Callable[[Checkpoint], list[WsIndex]]
    build: Callable[[Checkpoint], BuiltVariant]
    reference: Callable[[Checkpoint], Any]  # the PyTorch network; imports torch when called


def _build_mobilestylegan(checkpoint: Checkpoint) -> BuiltVariant:
    options = mobilestylegan.MobileStyleGanOptions()
    model = mobilestylegan.build_synthesis(checkpoint, options)
    return BuiltVariant(model, f"haar_{options.wavelet}", "const", ("onnxruntime", "torch"))


def _reference_mobilestylegan(checkpoint: Checkpoint) -> Any:
    from .reference.mobilestylegan import MobileStyleGAN

    return MobileStyleGAN.from_checkpoint(checkpoint)


FAMILIES = {
    family.name: family
    for family in [
        Family("mobilestylegan", mobilestylegan.ws_layout, _build_mobilestylegan, _reference_mobilestylegan),
    ]
}


def find_family(name: str) -> Family:
    """The family of that name.

    Raises:
        CheckpointError: there is none.
    """
    if name not in FAMILIES:
        raise CheckpointError(f"network family {name!r} cannot be exported; there are {', '.join(FAMILIES)}")
    return FAMILIES[name]
