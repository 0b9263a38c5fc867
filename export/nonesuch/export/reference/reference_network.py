"""What a reference network has, whatever its family."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, Self

from ..checkpoint import Checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from .modulated_conv import Form

__all__ = ["ReferenceNetwork"]


class ReferenceNetwork(Protocol):
    """A generator in PyTorch, such as `StyleGAN2`: an `nn.Module` with its two halves."""

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, form: Form = "grouped") -> Self:
        """The network with that checkpoint's weights, on the CPU, in evaluation mode.

        Raises:
            CheckpointError: another family, a config that makes no such network, or a tensor missing or misshapen.
        """
        ...

    @property
    def mapping(self) -> Callable[..., Tensor]:
        """Z [N, z_dim], and c [N, c_dim] where the family knows classes, to w [N, w_dim]."""
        ...

    @property
    def synthesis(self) -> Callable[..., Tensor]:
        """Ws [N, num_ws, w_dim], and what else the family takes, to the image [N, C, H, W], not clamped."""
        ...

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """The network on another device, in another type or memory format, as `nn.Module.to`."""
        ...
