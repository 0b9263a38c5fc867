"""The network families that can be exported, each with its graph builder and its reference network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nonesuch.engine.errors import CheckpointError
from nonesuch.engine.manifest import WsIndex

from .checkpoint import Checkpoint
from .graphs.synthesis_builder import SynthesisBuilder, VariantOptions
from .reference.rendering import ReferenceNetwork

if TYPE_CHECKING:
    import onnx_ir as ir

    from .reference.modulated_conv import Form


@dataclass(frozen=True)
class Family:
    """A network family.

    Attributes:
        name: the `family` of a checkpoint's config.
        builder: imports and returns the module that builds its graphs; this imports onnx_ir.
        network: imports and returns the class of its reference network; this imports torch.
    """

    name: str
    builder: Callable[[], SynthesisBuilder]
    network: Callable[[], type[ReferenceNetwork]]

    @property
    def upsampling(self) -> Sequence[str]:
        """The forms of up-sampling that the builder supports, the default first."""
        return self.builder().FORMS

    def form_for(self, runtime: str) -> str:
        """Return the form of up-sampling that a runtime prefers."""
        return self.builder().RUNTIME_FORMS.get(runtime, self.upsampling[0])

    def ws_layout(self, checkpoint: Checkpoint) -> list[WsIndex]:
        """Return the layers that read each index of ws."""
        return self.builder().ws_layout(checkpoint)

    def build(self, checkpoint: Checkpoint, options: VariantOptions) -> ir.Model:
        """Build one synthesis graph.

        Raises:
            CheckpointError: a tensor is missing, or its shape does not match the config.
            UnsupportedError: the family does not have this variant.
        """
        return self.builder().build_synthesis(checkpoint, options)

    def reference(self, checkpoint: Checkpoint, form: Form = "grouped") -> ReferenceNetwork:
        """Return the PyTorch network; imports torch.

        Args:
            checkpoint: a checkpoint of this family.
            form: "grouped" is the usual form; "inference" is faster. The pictures are equal up to rounding.
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
    """Return the family with this name.

    Raises:
        CheckpointError: the family is unknown.
    """
    if name not in FAMILIES:
        raise CheckpointError(f"network family {name!r} cannot be exported; there are {', '.join(FAMILIES)}")
    return FAMILIES[name]
