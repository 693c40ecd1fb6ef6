"""DiffPIR: the proximal point against the normal equations, and the spread that zeta leaves."""

import math

import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.inverse import CorrelatedNoise, GaussianNoise, Measurement
from diffusion_lit.inverse.noise import Noise
from diffusion_lit.inverse.posterior import DiffPIR
from diffusion_lit.noise import VP
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.grids import Quadratic
from tests.inverse.posterior.test_ddrm import half_seen, level, unseen_variance
from tests.inverse.problems import gaussian_problem


@pytest.mark.parametrize("noise", [GaussianNoise(0.3), CorrelatedNoise(torch.tensor([[0.2, 0.1], [0.1, 0.4]]))])
def test_a_step_is_its_formula(noise: Noise) -> None:
    denoiser, measurement = gaussian_problem(3)
    measurement = Measurement(measurement.y, measurement.operator, noise)
    a, precision = measurement.linear.matrix(), torch.linalg.inv(noise.covariance(2).double())
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t, s, r, lam, zeta = level(1.0), level(0.6), 1.0, 2.0, 0.3
    (alpha_t, sigma_t), (alpha_s, sigma_s) = VP()(t), VP()(s)
    mean = denoiser(x, t).mean
    normal = a.mT @ precision @ a + lam / r**2 * torch.eye(4, dtype=torch.float64)
    mean = torch.linalg.solve(normal, (a.mT @ precision @ measurement.y + lam / r**2 * mean).mT).mT
    z = Randomness(1, torch.arange(5)).normal(4, dtype=torch.float64)
    eps = (x - alpha_t * mean) / sigma_t
    expected = alpha_s * mean + sigma_s * (math.sqrt(1 - zeta) * eps + math.sqrt(zeta) * z)
    actual = DiffPIR(lam=lam, zeta=zeta).step(denoiser, measurement, x, t, s, Randomness(1, torch.arange(5)))
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("zeta", [0.0, 0.3, 1.0])
def test_the_variance_of_what_is_not_seen(zeta: float) -> None:
    """DDRM's recursion with eta^2 = zeta."""
    n, steps, v = 8000, 40, 0.6
    denoiser, measurement = half_seen(v, 0.2, VP())
    x = DiffPIR(steps, zeta=zeta)(denoiser, measurement, samples=n, seed=3)
    expected = unseen_variance(v, math.sqrt(zeta), VP(), Quadratic()(VP(), steps))
    assert float(x[:, 1].var()) / expected == pytest.approx(1, abs=4 * math.sqrt(2 / n))


def test_without_noise_y_is_met() -> None:
    denoiser, measurement = half_seen(0.6, 0.0, VP())
    x = DiffPIR()(denoiser, measurement, samples=9)
    torch.testing.assert_close(x[:, 0], torch.full((9,), 0.4, dtype=x.dtype))


def test_bad_input() -> None:
    with pytest.raises(UserError, match=r"lam 0"):
        DiffPIR(lam=0.0)
    with pytest.raises(UserError, match=r"zeta 2"):
        DiffPIR(zeta=2.0)
