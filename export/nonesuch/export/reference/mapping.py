"""The mapping network of StyleGAN2 and StyleGAN3: z, and a class in conditional networks, to w.

Network: Karras et al., arXiv 1912.04958, appendix B (normalised z, leaky ReLU of gain sqrt 2); the embedded class is
also normalised and concatenated to z, as in Karras et al., arXiv 2006.06676. The checkpoint's weights and biases
already include 1/sqrt(fan_in) and the learning-rate multiplier. Every tensor is float32.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from nonesuch.engine.errors import InvalidRequestError

from ..checkpoint import Checkpoint
from .parameters import non_negative, parameter, positive

_RELU_SLOPE = 0.2
_NORM_EPS = 1e-8


class Linear(nn.Module):
    """`x [N, in] -> [N, out]` with the checkpoint's `<name>.weight` [out, in] and `<name>.bias` [out]."""

    def __init__(self, checkpoint: Checkpoint, name: str, out_dim: int, in_dim: int) -> None:
        super().__init__()
        self.weight = parameter(checkpoint, f"{name}.weight", out_dim, in_dim)
        self.bias = parameter(checkpoint, f"{name}.bias", out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, in] to [N, out]."""
        return functional.linear(x, self.weight, self.bias)


class MappingNetwork(nn.Module):
    """`mapping.fc{i}`, and `mapping.embed` if c_dim is not 0.

    Attributes:
        z_dim: length of a latent z.
        c_dim: length of a class vector c; 0 if the network has no classes.
        w_dim: length of a style vector w.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        config = checkpoint.config
        self.z_dim, self.w_dim, self.c_dim = positive(config, "z_dim"), positive(config, "w_dim"), 0
        in_dim = self.z_dim
        self.embed: Linear | None = None
        if c_dim := non_negative(config, "c_dim"):
            self.c_dim = c_dim
            self.embed = Linear(checkpoint, "mapping.embed", self.w_dim, c_dim)
            in_dim += self.w_dim
        self.layers = nn.ModuleList(
            Linear(checkpoint, f"mapping.fc{i}", self.w_dim, self.w_dim if i else in_dim)
            for i in range(positive(config, "mapping_layers"))
        )

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Map z [N, z_dim], standard normal, and c [N, c_dim], one-hot, to w [N, w_dim].

        Raises:
            InvalidRequestError: c is missing, or is given although the network has no classes.
        """
        x = _normalise(z)
        if self.embed is None:
            if c is not None:
                raise InvalidRequestError.of("c", "the network has no classes")
        elif c is None:
            raise InvalidRequestError.of("c", f"the network needs a class vector of {self.c_dim} numbers")
        else:
            x = torch.cat([x, _normalise(self.embed(c))], dim=1)
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), _RELU_SLOPE) * math.sqrt(2)
        return x


def _normalise(x: Tensor) -> Tensor:
    """Scale each row of x [N, D] to a root mean square of 1."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + _NORM_EPS)
