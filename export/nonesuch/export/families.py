"""The network families that can be exported: which builder makes the graph, and which reference holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nonesuch.engine.errors import CheckpointError
from nonesuch.engine.manifest import WsIndex

from .checkpoint import Checkpoint
from .graphs.variant_options import VariantOptions

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["FAMILIES", "Family", "find_family"]


@dataclass(frozen=True)
class Family:
    """What the exporter needs to know of a family; its modules are imported when they are used."""

    name: str
    network: str  # the class in reference/<name>.py

    @property
    def upsampling(self) -> Sequence[str]:
        """The forms of up-sampling that the builder has, its default first."""
        forms: Sequence[str] = self._builder().FORMS
        return forms

    def ws_layout(self, checkpoint: Checkpoint) -> list[WsIndex]:
        """What reads each index of ws."""
        layout: list[WsIndex] = self._builder().ws_layout(checkpoint)
        return layout

    def build(self, checkpoint: Checkpoint, options: VariantOptions) -> ir.Model:
        """One synthesis graph.

        Raises:
            CheckpointError: a tensor is missing or has another shape than the config says.
            UnsupportedError: the family has no such variant.
        """
        model: ir.Model = self._builder().build_synthesis(checkpoint, options)
        return model

    def reference(self, checkpoint: Checkpoint) -> Any:
        """The PyTorch network, in the form that people run; imports torch."""
        module = import_module(f".reference.{self.name}", __package__)
        return getattr(module, self.network).from_checkpoint(checkpoint)

    def _builder(self) -> Any:
        return import_module(f".graphs.{self.name}", __package__)


FAMILIES = {
    family.name: family
    for family in [
        Family("mobilestylegan", "MobileStyleGAN"),
        Family("stylegan2", "StyleGAN2"),
        Family("stylegan3", "StyleGAN3"),
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
