"""StyleGAN2 in eager PyTorch: the oracle for exported graphs, and the baseline for timings.

Network: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", arXiv 1912.04958, with the conditional
mapping and the clamp of "Training Generative Adversarial Networks with Limited Data", arXiv 2006.06676. The
checkpoint's weights already include the runtime gains. Every tensor is float32.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from nonesuch.engine.errors import InvalidRequestError

from ..checkpoint import Checkpoint
from .mapping import MappingNetwork
from .modulated_conv import Form
from .parameters import parameter
from .stylegan2_config import StyleGAN2Config
from .stylegan2_layers import Block, Noise, NoiseMode


class StyleGAN2(nn.Module):
    """The whole generator, without truncation; its parameters take no gradient.

    Input shapes are not checked: PyTorch raises its own errors.

    Attributes:
        z_dim: length of a latent z.
        c_dim: length of a class vector c; 0 if the network has no classes.
        w_dim: length of a style vector w.
        num_ws: style vectors per picture.
        resolution: height and width of the picture.
        noise_shapes: [1, R, R] of each noise input by layer, such as "b8.conv0", in order of use.
    """

    def __init__(self, checkpoint: Checkpoint, form: Form = "grouped") -> None:
        super().__init__()
        config = StyleGAN2Config.read(checkpoint.config, form)
        self.num_ws, self.resolution = config.num_ws, config.resolution
        self.mapping_network = MappingNetwork(checkpoint)
        self.z_dim, self.c_dim, self.w_dim = (getattr(self.mapping_network, key) for key in ("z_dim", "c_dim", "w_dim"))
        self.input = parameter(checkpoint, "synthesis.input", 1, config.channels[0], 4, 4)
        blocks = [Block(checkpoint, config, index) for index in range(len(config.channels))]
        self.blocks = nn.ModuleList(blocks)
        convs = [conv for block in blocks for conv in (block.conv0, block.conv1) if conv is not None]
        self.noise_shapes = {conv.name: (1, conv.size, conv.size) for conv in convs}

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, form: Form = "grouped") -> StyleGAN2:
        """Return the network with the checkpoint's weights, on the CPU, in evaluation mode.

        Args:
            checkpoint: a checkpoint of family stylegan2.
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

    def synthesis(
        self, ws: Tensor, noise: Mapping[str, Tensor] | None = None, noise_mode: NoiseMode = "const"
    ) -> Tensor:
        """Map ws [N, num_ws, w_dim] to the image [N, img_channels, resolution, resolution], not clamped.

        Args:
            ws: one style vector for each layer.
            noise: standard normal [N, 1, R, R] by layer ("b8.conv0"); it is multiplied by the layer's strength.
            noise_mode: for layers not in `noise`: the checkpoint's own ("const"), no noise ("none"), or new noise from
                PyTorch's generator ("random").

        Raises:
            InvalidRequestError: noise for an unknown layer, or an unknown mode.
        """
        if noise_mode not in ("const", "none", "random"):
            raise InvalidRequestError.of("noise_mode", f"{noise_mode!r} is not const, none or random")
        if unknown := (noise or {}).keys() - self.noise_shapes:
            raise InvalidRequestError.of("noise", f"the network has no layer {', '.join(sorted(unknown))}")
        source = Noise(noise or {}, noise_mode)
        x = self.input.expand(ws.shape[0], -1, -1, -1)
        image: Tensor | None = None
        for block in self.blocks:
            x, image = block(x, image, ws, source)
        assert image is not None  # noqa: S101 - the last block has an RGB head in every architecture
        return image

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Map z [N, z_dim] to the unclamped image [N, img_channels, resolution, resolution], one w for all layers."""
        return self.synthesis(self.mapping(z, c)[:, None].expand(-1, self.num_ws, -1))
