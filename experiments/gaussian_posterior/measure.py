"""What a method makes of a posterior that is known: of x ~ N(m, C) in four dimensions, two numbers are measured."""

from collections.abc import Mapping
from pathlib import Path

import torch

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.inverse import GaussianNoise, LinearOperator, Measurement, methods
from diffusion_lit.inverse.guidance.jfps import DataCovariance
from diffusion_lit.noise import VP
from diffusion_lit.randomness import Randomness

EIGENVALUES = torch.tensor([2.0, 1.0, 0.5, 0.1], dtype=torch.float64)
SINGULAR_VALUES = torch.tensor([1.0, 0.4], dtype=torch.float64)
SIGMA_Y = 0.3


def problem(seed: int) -> tuple[GaussianDenoiser, Measurement]:
    """A rotated Gaussian and a rotated 2 x 4 operator."""
    draw = Randomness(seed, torch.arange(1))
    basis, left, right = (torch.linalg.qr(draw.normal(k, k, dtype=torch.float64)[0])[0] for k in (4, 2, 4))
    covariance = basis * EIGENVALUES @ basis.mT
    denoiser = GaussianDenoiser(draw.normal(4, dtype=torch.float64)[0], (covariance + covariance.mT) / 2, VP())
    operator = LinearOperator.from_matrix(left * SINGULAR_VALUES @ right[:, :2].mT)
    return denoiser, Measurement.simulate(operator, GaussianNoise(SIGMA_Y), denoiser.sample(1, seed)[0], seed)


def measure(
    seed: int, *, method: str, steps: int, n: int, options: Mapping | None = None, run: Path | None = None
) -> dict[str, float]:
    """Whitened by the exact posterior: `w2` of the samples' Gaussian, `bias` of their mean, the `least` and the `most`
    eigenvalue of their covariance (exactly 0, 0, 1, 1); `unseen`, the variance along A's null space over the exact one.
    """
    denoiser, measurement = problem(seed)
    posterior, matrix = denoiser.posterior(measurement), measurement.linear.matrix()
    covariance = denoiser.eigenvectors[0] * denoiser.eigenvalues[0] @ denoiser.eigenvectors[0].mT
    cost = {}
    if method == "exact":
        x = posterior.sample(n, seed=seed)
    else:
        given = dict(options or {})
        if method == "jfps":
            given["covariance"] = DataCovariance.of(denoiser)
        if given.get("data_variance") == "as measured":
            given["data_variance"] = float((matrix @ covariance @ matrix.mT).trace() / (matrix @ matrix.mT).trace())
        made = methods[method](steps=steps, **given)
        x = made(denoiser, measurement, samples=n, seed=seed).double()
        cost = {"nfe": float(made.nfe), "vjps": float(made.vjps)}
    basis, values = posterior.eigenvectors[0], posterior.eigenvalues[0]
    white = (x - posterior.means[0]) @ basis / values.sqrt()
    spread = torch.linalg.eigvalsh(torch.cov(white.mT)).clamp_min(0)
    unseen = torch.linalg.svd(matrix, full_matrices=True)[2][2:].mT
    exact = unseen.mT @ (basis * values @ basis.mT) @ unseen
    return {
        "w2": float((white.mean(0).square().sum() + (spread.sqrt() - 1).square().sum()).sqrt()),
        "bias": float(white.mean(0).norm()),
        "least": float(spread.min()),
        "most": float(spread.max()),
        "unseen": float(torch.cov((x @ unseen).mT).trace() / exact.trace()),
        **cost,
    }
