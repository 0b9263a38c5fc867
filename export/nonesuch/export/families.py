"""The network families that can be exported: which builder makes the graph, and which reference holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nonesuch.engine.errors import CheckpointError
from nonesuch.engine.manifest import WsIndex

from .checkpoint import Checkpoint
from .graphs.variant_options import VariantOptions

if TYPE_CHECKING:
    import onnx_ir as ir

    from .reference.modulated_conv import Form

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

    def form_for(self, runtime: str) -> str:
        """The form of up-sampling that a runtime likes best."""
        forms: Mapping[str, str] = getattr(self._builder(), "RUNTIME_FORMS", {})
        return forms.get(runtime, self.upsampling[0])

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

    def reference(self, checkpoint: Checkpoint, form: Form = "grouped") -> Any:
        """The PyTorch network; imports torch.

        Args:
            checkpoint: of this family.
            form: "grouped" is the form that people run, "inference" the faster one that a careful author would write;
                the pictures are the same but for rounding.
        """
        module = import_module(f".reference.{self.name}", __package__)
        return getattr(module, self.network).from_checkpoint(checkpoint, form)

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
