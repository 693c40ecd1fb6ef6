"""DDNM and DDNM+: their steps against explicit matrices."""

import math

import pytest
import torch

from diffusion_lit.cost import counted
from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, Measurement
from diffusion_lit.inverse.posterior import DDNM, DDNMPlus
from diffusion_lit.inverse.posterior.base import ancestral
from diffusion_lit.noise import EDM, VP, Schedule
from diffusion_lit.randomness import Randomness
from tests.inverse.posterior.test_ddrm import half_seen, level
from tests.inverse.problems import gaussian_problem


def test_a_step_is_its_formula() -> None:
    denoiser, measurement = gaussian_problem(3)
    a = measurement.linear.matrix()
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t, s = level(1.0), level(0.6)
    mean = denoiser(x, t).mean
    mean = mean + (measurement.y - mean @ a.mT) @ torch.linalg.pinv(a).mT
    expected = ancestral(VP(), mean, x, t, s, Randomness(1, torch.arange(5)))
    actual = DDNM().step(denoiser, measurement, x, t, s, Randomness(1, torch.arange(5)))
    torch.testing.assert_close(actual, expected, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("schedule", [VP(), EDM()])
def test_exact_for_isotropic_data_without_noise(schedule: Schedule) -> None:
    """y is met, and what is not seen has the prior's variance, less what beta-tilde loses: 3 % at 200 steps."""
    n, v = 4000, 0.6
    denoiser, measurement = half_seen(v, 0.0, schedule)
    x = DDNM(200)(denoiser, measurement, samples=n, seed=3)
    torch.testing.assert_close(x[:, 0], torch.full((n,), 0.4, dtype=x.dtype))
    assert float(x[:, 1].var()) / v == pytest.approx(1, abs=0.03 + 4 * math.sqrt(2 / n))


@pytest.mark.parametrize("r_s", [0.1, 0.5, 2.0])
def test_a_noisy_step_is_the_published_one(r_s: float) -> None:
    """In terms of alpha and sigma, as the published code has it (Lambda and Lambda_noise)."""
    denoiser, measurement = gaussian_problem(3)
    left, values, right = torch.linalg.svd(measurement.linear.matrix())
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t, s, eta = level(2 * r_s), level(r_s), 0.85
    (alpha_t, sigma_t), (alpha_s, sigma_s) = VP()(t), VP()(s)
    mean = denoiser(x, t).mean
    eps = (x - alpha_t * mean) / sigma_t @ right.mT
    z = Randomness(1, torch.arange(5)).normal(4) @ right.mT.float()
    y = torch.cat((left.mT @ measurement.y / values, torch.zeros(2, dtype=torch.float64)))
    lam, new, old = torch.zeros(4), torch.full((4,), float(eta * sigma_s)), torch.zeros(4)
    old[2:] = math.sqrt(1 - eta**2) * sigma_s
    for i in range(2):
        d = 0.3 / values[i]
        if sigma_s < alpha_s * d:
            lam[i] = math.sqrt(1 - eta**2) * sigma_s / (alpha_s * d)
        else:
            lam[i], new[i] = 1, (sigma_s**2 - (alpha_s * d) ** 2).sqrt()
    mean = mean @ right.mT
    expected = alpha_s * (mean + lam * (y - mean)) + new * z + old * eps
    actual = DDNMPlus().step(denoiser, measurement, x, t, s, Randomness(1, torch.arange(5)))
    torch.testing.assert_close(actual, expected @ right, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", [DDNM(12, travel_length=3, travel_repeat=2), DDNMPlus(12, 0.85, 3, 2)])
def test_time_travel_costs_what_it_says(method: DDNM | DDNMPlus) -> None:
    denoiser, measurement = gaussian_problem(1)
    with counted(denoiser) as cost:
        method(denoiser, measurement, samples=2)
    assert cost.forwards == method.nfe == 12 + 3 * 3


def test_time_travel_keeps_y() -> None:
    denoiser, measurement = gaussian_problem(1)
    exact = Measurement(measurement.y, measurement.operator, GaussianNoise(0.0))
    for method in (DDNM(12, travel_length=3, travel_repeat=2), DDNMPlus(12, 0.85, 3, 2)):
        x = method(denoiser, exact, samples=5)
        torch.testing.assert_close(exact.operator(x), exact.y.to(x).expand(5, 2), atol=1e-5, rtol=1e-5)


def test_bad_input() -> None:
    with pytest.raises(UserError, match=r"eta: 1\.5"):
        DDNM(eta=1.5)
    with pytest.raises(UserError, match="jump_length 0"):
        DDNM(travel_length=0)
    with pytest.raises(UserError, match="jump_n_sample 0"):
        DDNMPlus(travel_repeat=0)
