"""The Gaussian-Bernoulli restricted Boltzmann machine, an energy whose implicit score matching is a closed form."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

__all__ = ["GaussianBernoulliRBM"]


class GaussianBernoulliRBM(nn.Module):
    """E(x) = |x - a|^2 / 2 - sum_j softplus(w_j . x + b_j): a mixture of unit Gaussians, one a pattern of hidden bits.

    Args:
        features: Size d of the vectors.
        hidden: Number of hidden units.
        scale: Standard deviation of the initial weights.
    """

    def __init__(self, features: int, hidden: int, scale: float = 0.01) -> None:
        super().__init__()
        self.weight = nn.Parameter(scale * torch.randn(hidden, features))
        self.visible_bias = nn.Parameter(torch.zeros(features))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))

    def forward(
        self, x: Float[Tensor, "batch d"], noise_level: Float[Tensor, " batch"] | None = None
    ) -> Float[Tensor, " batch"]:
        """Return the energy of each x (B, d); it knows no noise level."""
        return (x - self.visible_bias).square().sum(1) / 2 - softplus(self._input(x)).sum(1)

    def score(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """-dE/dx = a + W^T h - x (B, d), "reconstruction minus input" (Swersky et al. 2011, Sec. 3.1)."""
        return self.visible_bias + self._input(x).sigmoid() @ self.weight - x

    def implicit_loss(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
        """tr ds/dx + |s|^2 / 2 (B,), where the trace is sum_j h_j (1 - h_j) |w_j|^2 - d (Swersky et al. 2011)."""
        h = self._input(x).sigmoid()
        trace = h * (1 - h) @ self.weight.square().sum(1) - x.shape[1]
        return trace + self.score(x).square().sum(1) / 2

    def _input(self, x: Tensor) -> Tensor:
        return x @ self.weight.mT + self.hidden_bias
