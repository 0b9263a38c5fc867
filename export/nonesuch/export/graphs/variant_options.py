"""What one variant of a synthesis graph looks like: the options that every family's builder takes.

All variants of a checkpoint show the same pictures (float16 to its rounding, and noise as its option says); which one a
runtime likes best is measured, not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nonesuch.engine.errors import UnsupportedError

__all__ = ["VariantOptions"]


@dataclass(frozen=True)
class VariantOptions:
    """Options of `build_synthesis`.

    Attributes:
        precision: "fp16" makes an explicitly typed graph: convolutions and activations in float16, styles,
            demodulation and the RGB sum in float32, Cast nodes between. Inputs and a float output stay float32.
        upsampling: a form by the family's own name, or "default", the family's best for a CPU.
        noise: the checkpoint's constant noise, none at all, or one graph input for each layer that has noise.
        linear: how matrix products of vectors are written; some compilers for small devices have no Gemm.
        output: uint8 [N, H, W, C] = trunc(clip(x * 127.5 + 128, 0, 255)), or x itself, float32 [N, C, H, W].
    """

    precision: Literal["fp32", "fp16"] = "fp32"
    upsampling: str = "default"
    noise: Literal["const", "none", "random"] = "const"
    linear: Literal["gemm", "conv1x1"] = "gemm"
    output: Literal["uint8_nhwc", "float32_nchw"] = "uint8_nhwc"

    def upsampling_form(self, forms: Sequence[str], family: str) -> str:
        """The form to build, of those that the family has; the first is its default.

        Raises:
            UnsupportedError: the family has no form of that name.
        """
        if self.upsampling == "default":
            return forms[0]
        if self.upsampling not in forms:
            raise UnsupportedError(
                f"family {family!r} has no up-sampling {self.upsampling!r}; there are default, {', '.join(forms)}"
            )
        return self.upsampling
