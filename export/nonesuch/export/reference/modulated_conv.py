"""The convolution whose input channels are scaled by a style, in two forms.

Source: Karras et al., arXiv 1912.04958, section 2.2, equations 1 (modulation) and 3 (demodulation). Both forms give
the same picture up to rounding:

- grouped: every sample has its own modulated weights, applied by one convolution with N groups. The authors describe
  it so, and most eager PyTorch code runs it.
- inference: the weights are shared; the style scales the input, and demodulation scales the output. The sum over taps
  and input channels in equation 3 is then a product of the squared styles and a precomputed matrix.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Form = Literal["grouped", "inference"]

_DEMOD_EPS = 1e-8


class ModulatedConv(nn.Module):
    """Maps x [N, I, H, W] and styles [N, I] to [N, O, H', W'].

    Without `up`, H' = H + 2 * padding - k + 1. With it, a transposed convolution of stride 2 without padding:
    H' = 2 H + k - 2.

    Args:
        weight: [O, I, k, k], in the same orientation for both kinds.
        padding: zeros on each side.
        up: whether to double the size.
        demodulate: give every output channel the same expected magnitude, whatever the style.
        gain: multiplies the output after demodulation.
        form: see the module.
    """

    energy: Tensor

    def __init__(
        self,
        weight: Tensor,
        *,
        padding: int = 0,
        up: bool = False,
        demodulate: bool = True,
        gain: float = 1.0,
        form: Form = "grouped",
    ) -> None:
        super().__init__()
        if form not in ("grouped", "inference"):
            raise ValueError(f"form is {form!r}, expected 'grouped' or 'inference'")
        self.padding, self.up, self.demodulate, self.form = padding, up, demodulate, form
        # Demodulation would cancel a gain of the weights.
        self.gain = gain if demodulate else 1.0
        self.weight = nn.Parameter(weight if demodulate else weight * gain, requires_grad=False)
        self.register_buffer("energy", weight.square().sum(dim=(2, 3)), persistent=False)  # [O, I]

    def forward(self, x: Tensor, styles: Tensor) -> Tensor:
        """Map x [N, I, H, W] and styles [N, I] to [N, O, H', W']."""
        return self._grouped(x, styles) if self.form == "grouped" else self._inference(x, styles)

    def _grouped(self, x: Tensor, styles: Tensor) -> Tensor:
        n, _, rows, columns = x.shape
        weights = self.weight * styles[:, None, :, None, None]  # [N, O, I, k, k]
        if self.demodulate:
            norms = torch.rsqrt(weights.square().sum(dim=(2, 3, 4), keepdim=True) + _DEMOD_EPS)
            weights = weights * (norms * self.gain)
        x = x.reshape(1, -1, rows, columns)
        if self.up:
            x = functional.conv_transpose2d(x, weights.transpose(1, 2).flatten(0, 1), stride=2, groups=n)
        else:
            x = functional.conv2d(x, weights.flatten(0, 1), padding=self.padding, groups=n)
        return x.reshape(n, -1, *x.shape[2:])

    def _inference(self, x: Tensor, styles: Tensor) -> Tensor:
        x = x * styles[:, :, None, None]
        if self.up:
            x = functional.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
        else:
            x = functional.conv2d(x, self.weight, padding=self.padding)
        if self.demodulate:
            norms = torch.rsqrt(functional.linear(styles.square(), self.energy) + _DEMOD_EPS)
            x = x * (norms * self.gain)[:, :, None, None]
        return x
