"""The interface of a reference network of any family."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, Self

from ..checkpoint import Checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from .modulated_conv import Form


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
