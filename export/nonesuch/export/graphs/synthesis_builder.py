"""The interface of a module that builds the synthesis graphs of one family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from nonesuch.engine.manifest import WsIndex

from ..checkpoint import Checkpoint
from .variant_options import VariantOptions

if TYPE_CHECKING:
    import onnx_ir as ir


class SynthesisBuilder(Protocol):
    """A module of `graphs`, such as `graphs/stylegan2.py`; mypy checks each module against this protocol."""

    @property
    def FORMS(self) -> Sequence[str]:  # noqa: N802  # a constant of the module
        """The forms of up-sampling, the default first."""
        ...

    @property
    def RUNTIME_FORMS(self) -> Mapping[str, str]:  # noqa: N802  # a constant of the module
        """Runtime -> the form that it prefers, if not the default."""
        ...

    def ws_layout(self, checkpoint: Checkpoint) -> list[WsIndex]:
        """Return the layers that read each index of `ws`.

        Raises:
            CheckpointError: the config is invalid for the family.
        """
        ...

    def build_synthesis(self, checkpoint: Checkpoint, options: VariantOptions) -> ir.Model:
        """Build one synthesis graph.

        Raises:
            CheckpointError: a tensor is missing, or its shape does not match the config.
            UnsupportedError: the family does not have this variant.
        """
        ...
