"""StyleGAN3 in eager PyTorch: the oracle for exported graphs, and the baseline for timings.

Network: Karras et al., "Alias-Free Generative Adversarial Networks", arXiv 2106.12423, configurations T and R, which
differ in kernels and filters only. The checkpoint's weights already include the runtime gains. The original divides a
layer's styles by their root mean square over the whole batch; demodulation cancels that. Here each sample is divided by
its own, so it does not depend on the rest of the batch. Every tensor is float32.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..checkpoint import Checkpoint
from .mapping import MappingNetwork
from .modulated_conv import Form
from .stylegan3_config import StyleGAN3Config
from .stylegan3_layers import FourierInput, Layer


class StyleGAN3(nn.Module):
    """The whole generator, without truncation; its parameters take no gradient.

    Input shapes are not checked: PyTorch raises its own errors.

    Attributes:
        z_dim: length of a latent z.
        c_dim: length of a class vector c; 0 if the network has no classes.
        w_dim: length of a style vector w.
        num_ws: style vectors per picture.
        resolution: height and width of the picture.
    """

    def __init__(self, checkpoint: Checkpoint, form: Form = "grouped") -> None:
        super().__init__()
        config = StyleGAN3Config.read(checkpoint.config, form)
        self.num_ws, self.resolution = config.num_ws, config.resolution
        self.output_scale = config.output_scale
        self.mapping_network = MappingNetwork(checkpoint)
        self.z_dim, self.c_dim, self.w_dim = (getattr(self.mapping_network, key) for key in ("z_dim", "c_dim", "w_dim"))
        self.input = FourierInput(checkpoint, config)
        self.layers = nn.ModuleList(Layer(checkpoint, config, index) for index in range(len(config.layers)))

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, form: Form = "grouped") -> StyleGAN3:
        """Return the network with the checkpoint's weights, on the CPU, in evaluation mode.

        Args:
            checkpoint: a checkpoint of family stylegan3.
            form: "grouped" convolves with weights modulated per sample, "inference" modulates activations instead;
                the pictures are equal up to rounding.

        Raises:
            CheckpointError: another family, an invalid config, or a tensor is missing or has the wrong shape.
        """
        return cls(checkpoint, form).eval()

    def mapping(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Map z [N, z_dim], standard normal, and c [N, c_dim] of a conditional network, to w [N, w_dim].

        Raises:
            InvalidRequestError: c is missing, or is given although the network has no classes.
        """
        w: Tensor = self.mapping_network(z, c)
        return w

    def synthesis(self, ws: Tensor, transform: Tensor | None = None) -> Tensor:
        """Map ws [N, num_ws, w_dim] to the image [N, img_channels, resolution, resolution], not clamped.

        Args:
            ws: one style vector for the input and for each layer.
            transform: [N, 3, 3] or [3, 3], from the picture's coordinates (x to the right, y down, side length 1,
                origin in the centre) to those of the input's waves: a shift by (x, y) moves the content by (-x, -y)
                before w's rotation. Default: the checkpoint's own, usually the identity.
        """
        x: Tensor = self.input(ws[:, 0], transform)
        for index, layer in enumerate(self.layers, start=1):
            x = layer(x, ws[:, index])
        return x * self.output_scale

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Map z [N, z_dim] to the unclamped image [N, img_channels, resolution, resolution], one w for all layers."""
        return self.synthesis(self.mapping(z, c)[:, None].expand(-1, self.num_ws, -1))
