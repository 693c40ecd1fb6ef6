"""Score-based data assimilation (Rozet & Louppe 2023, SDA)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_lit.denoise import Batch
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.guidance.base import Guidance
from diffusion_lit.inverse.guidance.widened import widened_solve
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.tangent import Tangent
from diffusion_lit.noise import Schedule
from diffusion_lit.samplers import DDIM, Langevin, PredictorCorrector, Quadratic, Sampler

__all__ = ["SDA", "ByNoise"]


@dataclass(frozen=True)
class ByNoise:
    """h = tau sigma_t^2 / max(1, mean eps^2), eps = -sigma_t score, each sample's own (Rozet & Louppe 2023, alg. 4).

    The published delta = tau / mean eps^2, in units of sigma_t^2, shortens the move where the guidance is steep. In
    few dimensions some samples have hardly any eps, and it would throw them far; so it is never longer than tau, which
    is what it is where eps is as long as noise.

    Args:
        tau: > 0; the paper's 0.25 to 0.5.

    Raises:
        UserError: it is not.
    """

    tau: float = 0.25

    def __post_init__(self):
        if not self.tau > 0:
            raise UserError(f"tau: {self.tau}; a Langevin move needs a positive number")

    def __call__(self, schedule: Schedule, t: Tensor, score: Batch, z: Batch) -> Tensor:
        variance = schedule(t)[1].double().square()
        steepness = variance * score.double().square().flatten(1).mean(1)  # mean eps^2
        return self.tau * variance / steepness.clamp_min(1)


class SDA(Guidance):
    """p(y | x_t) ~ N(y; A(D), Sigma_y + (sigma_t / alpha_t)^2 Gamma), for any operator, by the gradient through D.

    grad log p(y | x_t) = J^T A'(D)^T (Sigma_y + (sigma_t / alpha_t)^2 gamma I)^-1 (y - A(D))
    (Rozet & Louppe 2023, eq. 14 and 15, with Gamma = gamma I)

    gamma (sigma_t / alpha_t)^2 stands for A Cov[x_0 | x_t] A^T, which is (sigma_t / alpha_t)^2 A A^T near the data and
    never more than the data's own. So the paper's 0.01 is meant for data of few dimensions in a large space. For data
    that fill their space the guidance is up to 100 times too steep where sigma_t / alpha_t < 10: not exact for Gaussian
    data, but for what the corrections mend. gamma has the units of (y / x)^2, so it grows with the square of A.

    Args:
        steps: of the default sampler, DDIM on the quadratic grid with Langevin corrections before each step, which
            mend what the guidance's steepness breaks (algorithm 4). On exact Gaussians, with 64 and 256 steps, LogSNR
            is nearer by up to a tenth for chains of small noise (trajectories), farther by up to a sixth else.
        gamma: > 0; the paper's 0.01, and 0.03 for Lorenz'63.
        corrections: C of them a step in the default sampler, each another call of the denoiser and another
            vector-Jacobian product.
        tau: of the corrections, the length of a move.
        sampler: in place of the default.

    Raises:
        UserError: gamma is not above 0, or the corrections are fewer than none.
    """

    def __init__(
        self,
        steps: int = 256,
        gamma: float = 1e-2,
        corrections: int = 1,
        tau: float = 0.25,
        sampler: Sampler | None = None,
    ):
        if not gamma > 0:
            raise UserError(f"gamma: {gamma}; give a number > 0, such as the paper's 0.01")
        if corrections < 0:
            raise UserError(f"corrections: {corrections} < 0; 0 leaves DDIM alone")
        if sampler is None:
            sampler = DDIM(steps, grid=Quadratic())
            if corrections:
                sampler = PredictorCorrector(sampler, Langevin(ByNoise(tau), corrections))
        super().__init__(steps, sampler, vjps_per_call=1)
        self.gamma = gamma

    def likelihood_score(self, at: Tangent, measurement: Measurement) -> Batch:
        mean = at.mean.detach()
        variance = self.gamma * (at.sigma / at.alpha) ** 2
        weighed = widened_solve(measurement, measurement.residual(mean), variance, measurement.gaussian(mean))
        with torch.enable_grad():
            predicted = measurement.operator(at.mean)
        return torch.autograd.grad(predicted, at.x_t, weighed.to(predicted))[0]
