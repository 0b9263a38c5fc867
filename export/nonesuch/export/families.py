"""The network families that can be exported: which builder makes the graph, and which reference holds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nonesuch.engine.errors import CheckpointError
from nonesuch.engine.manifest import WsIndex

from .checkpoint import Checkpoint
from .graphs.synthesis_builder import SynthesisBuilder
from .graphs.variant_options import VariantOptions
from .reference.reference_network import ReferenceNetwork

if TYPE_CHECKING:
    import onnx_ir as ir

    from .reference.modulated_conv import Form

__all__ = ["FAMILIES", "Family", "find_family"]


@dataclass(frozen=True)
class Family:
    """What the exporter needs to know of a family.

    Attributes:
        name: as a checkpoint's config has it.
        builder: imports the module that builds its graphs, and onnx_ir with it.
        network: imports the class of its reference network, and torch with it.
    """

    name: str
    builder: Callable[[], SynthesisBuilder]
    network: Callable[[], type[ReferenceNetwork]]

    @property
    def upsampling(self) -> Sequence[str]:
        """The forms of up-sampling that the builder has, its default first."""
        return self.builder().FORMS

    def form_for(self, runtime: str) -> str:
        """The form of up-sampling that a runtime likes best."""
        return self.builder().RUNTIME_FORMS.get(runtime, self.upsampling[0])

    def ws_layout(self, checkpoint: Checkpoint) -> list[WsIndex]:
        """What reads each index of ws."""
        return self.builder().ws_layout(checkpoint)

    def build(self, checkpoint: Checkpoint, options: VariantOptions) -> ir.Model:
        """One synthesis graph.

        Raises:
            CheckpointError: a tensor is missing or has another shape than the config says.
            UnsupportedError: the family has no such variant.
        """
        return self.builder().build_synthesis(checkpoint, options)

    def reference(self, checkpoint: Checkpoint, form: Form = "grouped") -> ReferenceNetwork:
        """The PyTorch network; imports torch.

        Args:
            checkpoint: of this family.
            form: "grouped" is the form that people run, "inference" the faster one that a careful author would write;
                the pictures are the same but for rounding.
        """
        return self.network().from_checkpoint(checkpoint, form)


def _mobilestylegan_graphs() -> SynthesisBuilder:
    from .graphs import mobilestylegan

    return mobilestylegan


def _stylegan2_graphs() -> SynthesisBuilder:
    from .graphs import stylegan2

    return stylegan2


def _stylegan3_graphs() -> SynthesisBuilder:
    from .graphs import stylegan3

    return stylegan3


def _mobilestylegan_network() -> type[ReferenceNetwork]:
    from .reference.mobilestylegan import MobileStyleGAN

    return MobileStyleGAN


def _stylegan2_network() -> type[ReferenceNetwork]:
    from .reference.stylegan2 import StyleGAN2

    return StyleGAN2


def _stylegan3_network() -> type[ReferenceNetwork]:
    from .reference.stylegan3 import StyleGAN3

    return StyleGAN3


FAMILIES = {
    family.name: family
    for family in [
        Family("mobilestylegan", _mobilestylegan_graphs, _mobilestylegan_network),
        Family("stylegan2", _stylegan2_graphs, _stylegan2_network),
        Family("stylegan3", _stylegan3_graphs, _stylegan3_network),
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
