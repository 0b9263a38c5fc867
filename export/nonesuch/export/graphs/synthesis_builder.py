"""The interface of a module that builds the synthesis graphs of one family, and the options of one variant.

All variants of a checkpoint show the same pictures, except for float16 rounding and the noise option. The fastest for a
runtime is found by measurement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from nonesuch.engine.errors import UnsupportedError
from nonesuch.engine.manifest import WsIndex

from ..checkpoint import Checkpoint

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class VariantOptions:
    """Options of `build_synthesis`.

    Attributes:
        precision: "fp16" makes an explicitly typed graph: convolutions and activations in float16, styles,
            demodulation and the RGB sum in float32, Cast nodes between. Inputs and a float output stay float32.
        upsampling: one of the family's forms, or "default", its best for a CPU.
        noise: the checkpoint's constant noise, no noise, or one graph input for each layer with noise.
        linear: the form of matrix products of vectors; some compilers for small devices do not support Gemm.
        output: uint8 [N, H, W, C] = trunc(clip(x * 127.5 + 128, 0, 255)), or x itself, float32 [N, C, H, W].
    """

    precision: Literal["fp32", "fp16"] = "fp32"
    upsampling: str = "default"
    noise: Literal["const", "none", "random"] = "const"
    linear: Literal["gemm", "conv1x1"] = "gemm"
    output: Literal["uint8_nhwc", "float32_nchw"] = "uint8_nhwc"

    def upsampling_form(self, forms: Sequence[str], family: str) -> str:
        """Return the form to build; `forms` are the family's forms, the default first.

        Raises:
            UnsupportedError: the family does not have the requested form.
        """
        if self.upsampling == "default":
            return forms[0]
        if self.upsampling not in forms:
            raise UnsupportedError(
                f"family {family!r} has no up-sampling {self.upsampling!r}; supported: default, {', '.join(forms)}"
            )
        return self.upsampling


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
