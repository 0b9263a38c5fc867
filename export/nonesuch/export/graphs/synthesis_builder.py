"""What a module that builds the synthesis graphs of one family has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from nonesuch.engine.manifest import WsIndex

from ..checkpoint import Checkpoint
from .variant_options import VariantOptions

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["SynthesisBuilder"]


class SynthesisBuilder(Protocol):
    """A module of `graphs`, such as `graphs/stylegan2.py`; as a protocol, so that mypy holds each of them to it."""

    @property
    def FORMS(self) -> Sequence[str]:  # noqa: N802  # a constant of the module
        """The forms of up-sampling, the default first."""
        ...

    @property
    def RUNTIME_FORMS(self) -> Mapping[str, str]:  # noqa: N802  # a constant of the module
        """Runtime -> the form that it likes best, where that is not the default."""
        ...

    def ws_layout(self, checkpoint: Checkpoint) -> list[WsIndex]:
        """What reads each index of `ws`.

        Raises:
            CheckpointError: the config describes no network of the family.
        """
        ...

    def build_synthesis(self, checkpoint: Checkpoint, options: VariantOptions) -> ir.Model:
        """One synthesis graph.

        Raises:
            CheckpointError: a tensor is missing or has another shape than the config says.
            UnsupportedError: the family has no such variant.
        """
        ...
