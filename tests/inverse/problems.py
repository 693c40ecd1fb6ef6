"""Gaussian problems whose posteriors are known."""

import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser, GaussianMixtureDenoiser
from diffusion_lit.inverse import GaussianNoise, LinearOperator, Measurement
from diffusion_lit.noise import VP


def gaussian_problem(seed: int) -> tuple[GaussianDenoiser, Measurement]:
    """N(m, C) in 4-D with eigenvalues (2, 1, .5, .1); A 2 x 4 with singular values (1, .4); sigma_y .3."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    basis = torch.linalg.qr(normal(4, 4))[0]
    covariance = basis @ torch.diag(torch.tensor([2, 1, 0.5, 0.1], dtype=torch.float64)) @ basis.mT
    mean, left, right = normal(4), torch.linalg.qr(normal(2, 2))[0], torch.linalg.qr(normal(4, 4))[0][:, :2]
    matrix = left @ torch.diag(torch.tensor([1, 0.4], dtype=torch.float64)) @ right.mT
    denoiser = GaussianDenoiser(mean, (covariance + covariance.mT) / 2, VP())
    truth = denoiser.sample(1, seed + 1000)[0]
    measurement = Measurement.simulate(LinearOperator.from_matrix(matrix), GaussianNoise(0.3), truth, seed)
    return denoiser, measurement


def image_problem(count: int = 2) -> tuple[GaussianDenoiser, Tensor]:
    """Smooth Gaussian images of 2 x 5 x 4, odd and not square, and `count` draws."""
    size = 2 * 5 * 4
    grid = torch.arange(size, dtype=torch.float64)
    covariance = 0.3 * (-(grid[:, None] - grid).abs() / 4).exp()
    denoiser = GaussianDenoiser(torch.full((2, 5, 4), 0.1), covariance, VP())
    return denoiser, denoiser.sample(count, 77)


def whitened(x: Tensor, posterior: GaussianMixtureDenoiser) -> tuple[float, float]:
    """Return |bias| and the 2-Wasserstein distance of the fitted Gaussian to the posterior, both whitened by it."""
    return whitened_law(x.mean(0), torch.cov(x.mT), posterior)


def whitened_law(mean: Tensor, covariance: Tensor, posterior: GaussianMixtureDenoiser) -> tuple[float, float]:
    """The same for N(mean, covariance)."""
    root = posterior.eigenvectors[0] / posterior.eigenvalues[0].sqrt()
    bias = (mean - posterior.means[0]) @ root
    spread = torch.linalg.eigvalsh(root.mT @ covariance @ root).clamp_min(0).sqrt() - 1
    return float(bias.norm()), float((bias.square().sum() + spread.square().sum()).sqrt())
