"""How weighted chains end: the step to the data given y, and what it weighs."""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.denoise import Batch
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.noise import Gaussian, GaussianNoise
from diffusion_lit.inverse.proximal import matheron
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness

__all__ = ["close", "law_of", "log_constant", "log_determinant", "ratio_squared"]


def ratio_squared(schedule: Schedule, t: Float64[Tensor, ""]) -> Float64[Tensor, ""]:
    """r^2 = sigma_t^2 / alpha_t^2, what a chain still knows too little of x_0 at t."""
    alpha, sigma = schedule(t)
    return (sigma / alpha) ** 2


def law_of(measurement: Measurement) -> Gaussian:
    """The Gaussian of the noise at y itself: one Sigma for all particles, so that its determinant cancels in a weight.

    Raises:
        UserError: the noise has none.
    """
    return measurement.noise.gaussian(measurement.values if measurement.batched else measurement.values[None])


def log_determinant(measurement: Measurement, spread: Float64[Tensor, ""]) -> Float64[Tensor, ""]:
    """log det(Sigma + spread A A^T) over the measured entries of one y, Sigma of the noise at y.

    Raises:
        UserError: A has no SVD, and is too large for a matrix.
    """
    law, operator, size = law_of(measurement), measurement.linear, measurement.operator.y_size
    svd = operator.svd()
    if isinstance(law, GaussianNoise) and svd is not None:
        inside = (law.variance + spread * svd.s[:size].square()).log().sum()
        return inside + max(size - len(svd.s), 0) * torch.tensor(law.variance, dtype=torch.float64).log()
    white = law.whiten(operator.matrix().mT)  # rows Sigma^-1/2 A e_i
    noise = torch.as_tensor(law.log_determinant(size), dtype=torch.float64).sum()
    return noise + torch.log1p(spread * torch.linalg.svdvals(white).square()).sum()


def log_constant(measurement: Measurement, spread: Float64[Tensor, ""]) -> Float64[Tensor, ""]:
    """What `close` leaves out of log p(y): the determinant and 2 pi of N(y; A D, Sigma + r^2 A A^T)."""
    return -(log_determinant(measurement, spread) + measurement.operator.y_size * math.log(2 * math.pi)) / 2


def close(
    measurement: Measurement, mean: Batch, spread: Float64[Tensor, ""], noise: Randomness
) -> tuple[Batch, Float64[Tensor, " batch"]]:
    """The step to the data: draw x_0 ~ N(D, r^2 I) given y, and return its log p(y), but for what all particles share.

    log N(y; A D, Sigma + r^2 A A^T) + (2 pi and determinant) / 2, and for noise that is not Gaussian the log of
    p(y | x_0) / N(y; A x_0, Sigma), which makes the draw with the Gaussian at y a draw of importance sampling.

    Args:
        measurement: of one y, or of one a particle.
        mean: (B, *) D at the last time above 0.
        spread: () r^2 = sigma_t^2 / alpha_t^2 there.
        noise: one stream a particle.
    """
    law, centre = law_of(measurement), mean.double()
    residual = measurement.residual(centre)
    log_y = -(residual * measurement.gram_solve(residual, spread, law)).flatten(1).sum(1) / 2
    x_0 = matheron(measurement, centre, spread, law, noise)
    if not isinstance(measurement.noise, Gaussian):
        ax = measurement.operator.observe(measurement.operator(x_0))
        gaussian = law.log_likelihood(ax + measurement.operator.observe(measurement.residual(x_0)), ax)
        log_y = log_y + measurement.log_likelihood(x_0) - gaussian
    return x_0.to(mean), log_y
