"""The interface of the reference networks, and runs: settings of a session, inputs as in a graph, pictures as levels.

The functions import torch, not the module, because every command imports the settings with the backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from nonesuch.engine.manifest import Variant
from nonesuch.engine.session import Batch

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..checkpoint import Checkpoint
    from .modulated_conv import Form


@dataclass(frozen=True)
class TorchSettings:
    """How a reference network runs; the defaults are those of the `torch` backend.

    Attributes:
        form: "grouped", the usual form, or "inference", the faster one; see `Family.reference`.
        memory_format: of weights and activations.
        compile: use torch.compile, once for every batch size. Needs a C++ compiler.
        cuda_graphs: capture the run of each batch size and replay it. CUDA only.
        half: float16 weights and activations, without autocast. For CUDA.
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


def device_inputs(batch: Batch, device: str, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """Return all inputs of a batch on the device, by their names in the graph; float32 by default."""
    import torch

    return {name: torch.from_numpy(array).to(device, dtype) for name, array in batch.feeds().items()}


def synthesis_options(network: ReferenceNetwork, inputs: Mapping[str, Tensor], variant: Variant) -> dict[str, Any]:
    """Return the arguments of `network.synthesis` besides ws that give the picture of the variant's graph."""
    options: dict[str, Any] = {}
    if "transform" in inputs:
        options["transform"] = inputs["transform"]
    noise = {name.removeprefix("noise."): array for name, array in inputs.items() if name.startswith("noise.")}
    if noise:
        options |= {"noise": noise, "noise_mode": "random"}
    elif variant.noise == "none" and "noise_mode" in signature(network.synthesis).parameters:
        options["noise_mode"] = "none"  # StyleGAN3 has no noise and no such option
    return options


def render(network: ReferenceNetwork, batch: Batch, variant: Variant, device: str = "cpu") -> Tensor:
    """Return the picture float32 [N, C, H, W], not clamped, of a batch of the variant's inputs."""
    import torch

    inputs = device_inputs(batch, device)
    with torch.inference_mode():
        image: Tensor = network.synthesis(inputs["ws"], **synthesis_options(network, inputs, variant))
    return image


def to_uint8(image: Tensor) -> Tensor:
    """Convert float [N, C, H, W] with the visible range [-1, 1] to uint8 [N, H, W, C]: trunc(clamp(127.5 x + 128))."""
    import torch

    return (image * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


class ReferenceNetwork(Protocol):
    """A generator in PyTorch, such as `StyleGAN2`: an `nn.Module` with a mapping and a synthesis network."""

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, form: Form = "grouped") -> Self:
        """Return the network with the checkpoint's weights, on the CPU, in evaluation mode.

        Raises:
            CheckpointError: another family, an invalid config, or a tensor is missing or has the wrong shape.
        """
        ...

    @property
    def mapping(self) -> Callable[..., Tensor]:
        """Maps z [N, z_dim], and c [N, c_dim] in families with classes, to w [N, w_dim]."""
        ...

    @property
    def synthesis(self) -> Callable[..., Tensor]:
        """Maps ws [N, num_ws, w_dim], and the family's own options, to the image [N, C, H, W], not clamped."""
        ...

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move the network to another device, type or memory format, as `nn.Module.to`."""
        ...
