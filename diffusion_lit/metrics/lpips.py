"""Learned perceptual distance between two images."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diffusion_lit.metrics.trunks import Net, Trunk, as_rgb
from diffusion_lit.metrics.weights import read_heads

__all__ = ["LPIPS"]


class LPIPS(nn.Module):
    """Weighted squared distance of unit-normalised activations of a pretrained trunk.

    Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (arXiv:1801.03924), Eq. 1,
    with the heads of version 0.1. Images below 64 pixels are enlarged bilinearly first. The weights are frozen;
    gradients reach the images.

    Args:
        net: "alex" or "vgg".
        trunk: The trunk; None builds the pretrained one.
        heads: Five weights (1, C_i, 1, 1); None reads the pretrained ones.

    Raises:
        UserError: The weights are not installed.
    """

    def __init__(self, net: Net = "alex", trunk: Trunk | None = None, heads: Sequence[Tensor] | None = None) -> None:
        super().__init__()
        self.identity = f"lpips-{net}"
        self.trunk = Trunk(net) if trunk is None else trunk
        self.heads = nn.ParameterList(read_heads(net) if heads is None else heads).requires_grad_(False)

    def forward(
        self, images: Float[Tensor, "batch c h w"], references: Float[Tensor, "batch c h w"]
    ) -> Float[Tensor, " batch"]:
        """Return the distance (B,) of each image to its reference, both (B, C, H, W) in [-1, 1] with C = 1 or 3."""
        taps = zip(self.trunk(as_rgb(images)), self.trunk(as_rgb(references)), self.heads)
        layers = [(head * (_unit(a) - _unit(b)).square()).sum(dim=1).mean(dim=(1, 2)) for a, b, head in taps]
        return torch.stack(layers).sum(dim=0)


def _unit(x: Tensor) -> Tensor:
    return x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10)
