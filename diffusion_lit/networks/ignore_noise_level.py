"""A network that is not told how noisy its input is (NCSNv2, Song & Ermon 2020, technique 3)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["IgnoreNoiseLevel"]


class IgnoreNoiseLevel(nn.Module):
    """Show a network the same noise level always, zero: what it does not see in the input it does not know.

    With the preconditioning `NCSN` of `diffusion_lit.denoise` the score is s(x, sigma) = s(x) / sigma.

    Args:
        network: network(x (B, *), noise_level (B,), **condition).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, x: Float[Tensor, "batch *event"], noise_level: Float[Tensor, " batch"], **condition: Tensor
    ) -> Float[Tensor, "batch *out"]:
        """Apply the network, as if at c_noise = 0."""
        return self.network(x, torch.zeros_like(noise_level), **condition)
