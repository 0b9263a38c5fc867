"""What a network shows, as grey levels."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["to_uint8"]


def to_uint8(image: Tensor) -> Tensor:
    """Float [N, C, H, W], where [-1, 1] is the visible range, to uint8 [N, H, W, C]: trunc(clamp(127.5 x + 128))."""
    return (image * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
