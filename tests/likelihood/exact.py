"""Data whose density is known, and the exact law of x_1 as a prior."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser, GaussianMixtureDenoiser
from diffusion_lit.noise import Schedule


def ring(schedule: Schedule) -> GaussianMixtureDenoiser:
    """Eight components on a circle of radius 2, standard deviation 0.2."""
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    means = 2 * torch.stack((angle.cos(), angle.sin()), dim=1)
    return GaussianMixtureDenoiser(torch.ones(8), means, torch.full((8,), 0.04), schedule)


def gaussian(schedule: Schedule) -> GaussianDenoiser:
    """Four dimensions, eigenvalues 2, 1, 0.5, 0.1 in directions of no axis, mean not zero."""
    normal = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(normal).Q
    values = torch.tensor([2.0, 1.0, 0.5, 0.1], dtype=torch.float64)
    return GaussianDenoiser(torch.tensor([1.0, -0.5, 0.3, 0.0]), basis * values @ basis.mT, schedule)


@dataclass(frozen=True)
class ExactPrior:
    """The law of x_1 itself."""

    denoiser: GaussianMixtureDenoiser

    def log_prob(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return self.denoiser.log_prob(x, 1.0)
