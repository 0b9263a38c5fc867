"""How the reference networks are run where their speed matters: the settings of a `TorchSession`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .modulated_conv import Form

__all__ = ["TorchSettings"]


@dataclass(frozen=True)
class TorchSettings:
    """Ways to run a reference network; the defaults are those of the `torch` backend.

    Attributes:
        form: "grouped", the form that people run, or "inference", the faster one; `Family.reference` says more.
        memory_format: of weights and activations.
        compile: let torch.compile make the code, once for every batch size. Needs a C++ compiler.
        cuda_graphs: capture the run of each batch size and replay it. CUDA only.
        half: float16 weights and activations, without autocast. Meant for CUDA.
    """

    form: Form = "grouped"
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    compile: bool = False
    cuda_graphs: bool = False
    half: bool = False

    @property
    def label(self) -> str:
        """The settings in words: "eager, reference form, channels_last"."""
        parts = [
            "compile" if self.compile else "eager",
            "reference form" if self.form == "grouped" else "inference form",
            self.memory_format,
        ]
        return ", ".join(parts + ["float16"] * self.half + ["CUDA graphs"] * self.cuda_graphs)
