"""Plug-and-play priors: an optimiser's direction, and where it ends."""

import pytest
import torch
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, Measurement
from diffusion_lit.inverse.posterior import PlugAndPlay
from diffusion_lit.noise import VP
from diffusion_lit.randomness import Randomness
from tests.inverse.problems import gaussian_problem, whitened


def test_direction_is_that_of_the_objective() -> None:
    """Adam's first step is rate times the sign of the gradient of 1/2 ||eps - eps(x_t)||^2 - log p(y | x)."""
    denoiser, measurement = gaussian_problem(3)
    vague = Measurement(measurement.y, measurement.operator, GaussianNoise(3.0))  # so that the prior counts
    t = torch.tensor(0.3, dtype=torch.float64)
    alpha, sigma = VP()(t)
    noise = Randomness(5, torch.arange(6))
    x, eps = (noise.normal(4, dtype=torch.float64) for _ in range(2))

    def objective(p: Tensor) -> Tensor:
        missed = eps - denoiser.eps(alpha * p + sigma * eps, t)
        return missed.square().sum() / 2 - vague.log_likelihood(p).sum()

    method = PlugAndPlay(1, rate=0.1, grid=lambda schedule, steps: torch.tensor([0.3, 0.1, 0.0]).double())
    # 0.3 in float32 is not quite t
    actual = method(denoiser, vague, samples=6, seed=5)
    torch.testing.assert_close(actual, x - 0.1 * torch.func.grad(objective)(x).sign(), atol=1e-5, rtol=0)


def test_it_optimises_and_does_not_sample() -> None:
    """Every start ends at the mode of a Gaussian posterior, to within its spread; almost none of the spread is left."""
    denoiser, measurement = gaussian_problem(1)
    x = PlugAndPlay(300)(denoiser, measurement, samples=200, seed=1)
    posterior = denoiser.posterior(measurement)
    assert whitened(x, posterior)[0] < 0.5
    assert bool((x.std(0) < 0.5 * posterior._full_covariances()[0].diagonal().sqrt()).all())


def test_bad_input() -> None:
    with pytest.raises(UserError, match="steps 0"):
        PlugAndPlay(steps=0)
    denoiser, measurement = gaussian_problem(1)
    with pytest.raises(UserError, match="divides by the variance"):
        PlugAndPlay(4)(denoiser, Measurement(measurement.y, measurement.operator, GaussianNoise(0.0)))
