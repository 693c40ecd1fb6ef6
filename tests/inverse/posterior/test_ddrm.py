"""DDRM: each branch against explicit matrices, and what it leaves of the variance that A does not see."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse import DiagonalNoise, GaussianNoise, LinearOperator, Measurement
from diffusion_lit.inverse.posterior import DDRM
from diffusion_lit.noise import EDM, VP, Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.grids import Uniform
from tests.inverse.problems import gaussian_problem


def level(r: float) -> Tensor:
    """The time of VP at which sigma / alpha = r."""
    return VP().time(torch.tensor(-2 * math.log(r), dtype=torch.float64))


@pytest.mark.parametrize("r_s", [0.1, 0.5, 2.0])  # both seen coordinates below y's level (0.3, 0.75), one, none
@pytest.mark.parametrize("eta_b", [1.0, 0.6])
def test_a_step_is_its_formula(r_s: float, eta_b: float) -> None:
    denoiser, measurement = gaussian_problem(3)
    left, values, right = torch.linalg.svd(measurement.linear.matrix())
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t, s, eta, r_t = level(2.5 * r_s), level(r_s), 0.85, 2.5 * r_s
    (alpha_t, _), (alpha_s, _) = VP()(t), VP()(s)
    fresh = Randomness(1, torch.arange(5)).normal(4, dtype=torch.float64)
    mean, wide, z = (v @ right.mT for v in (denoiser(x, t).mean, x / alpha_t, fresh))
    y = left.mT @ measurement.y / values
    expected = torch.empty(5, 4, dtype=torch.float64)
    for i in range(4):
        d = 0.3 / float(values[i]) if i < 2 else math.inf
        if i >= 2:
            centre = mean[:, i] + math.sqrt(1 - eta**2) * r_s * (wide[:, i] - mean[:, i]) / r_t
            spread = eta * r_s
        elif r_s < d:
            centre, spread = mean[:, i] + math.sqrt(1 - eta**2) * r_s * (y[i] - mean[:, i]) / d, eta * r_s
        else:
            centre, spread = (1 - eta_b) * mean[:, i] + eta_b * y[i], math.sqrt(r_s**2 - eta_b**2 * d**2)
        expected[:, i] = alpha_s * (centre + spread * z[:, i])
    method = DDRM(eta_b=eta_b)
    actual = method.step(denoiser, measurement, x, t, s, Randomness(1, torch.arange(5)))
    torch.testing.assert_close(actual, expected @ right, atol=1e-5, rtol=1e-5)


def half_seen(v: float, sigma_y: float, schedule: Schedule) -> tuple[GaussianDenoiser, Measurement]:
    """N(0, v I) in 2-D, the first number of which is measured."""
    denoiser = GaussianDenoiser(torch.zeros(2), torch.tensor(v), schedule)
    operator = LinearOperator.from_matrix(torch.tensor([[1.0, 0.0]]))
    return denoiser, Measurement(torch.tensor([0.4]), operator, GaussianNoise(sigma_y))


def unseen_variance(v: float, eta: float, schedule: Schedule, times: Tensor) -> float:
    """Of x / alpha, Var' = (v + k r' r)^2 / (v + r^2)^2 Var + (eta r')^2, k = sqrt(1 - eta^2): D is v / (v + r^2) x."""
    alpha, sigma = schedule(times)
    levels = (sigma / alpha).tolist()
    variance, kept = levels[0] ** 2, math.sqrt(1 - eta**2)
    for r, after in pairwise(levels):
        variance = ((v + kept * after * r) / (v + r**2)) ** 2 * variance + (eta * after) ** 2
    return variance


@pytest.mark.parametrize("eta", [0.0, 0.85, 1.0])
@pytest.mark.parametrize("schedule", [VP(), EDM()])
def test_the_variance_of_what_is_not_seen(eta: float, schedule: Schedule) -> None:
    n, steps, v = 8000, 40, 0.6
    denoiser, measurement = half_seen(v, 0.2, schedule)
    x = DDRM(steps, eta)(denoiser, measurement, samples=n, seed=3)
    expected = unseen_variance(v, eta, schedule, Uniform()(schedule, steps))
    assert float(x[:, 1].var()) / expected == pytest.approx(1, abs=4 * math.sqrt(2 / n))
    assert abs(float(x[:, 1].mean())) < 4 * math.sqrt(expected / n)


@pytest.mark.parametrize(("eta", "part"), [(0.85, 0.763), (0.5, 0.933), (1.0, 0.5)])
def test_fine_steps_leave_too_little_of_it(eta: float, part: float) -> None:
    """(1 + sqrt(1 - eta^2)) / 2, whatever the data's variance: not a matter of the number of steps."""
    assert (1 + math.sqrt(1 - eta**2)) / 2 == pytest.approx(part, abs=1e-3)
    for v in (0.25, 4.0):
        found = unseen_variance(v, eta, VP(), Uniform()(VP(), 20000)) / v
        assert found == pytest.approx(part, rel=0.02)


def test_the_start_is_around_y() -> None:
    n = 8000
    denoiser, measurement = half_seen(0.6, 100.0, EDM(sigma_max=80.0))
    far = DDRM(1)  # its one step goes to D, which is linear: so it shows the start
    x = far(denoiser, measurement, samples=n, seed=3)
    shrink = 0.6 / (0.6 + 80.0**2)
    assert float(x[:, 0].var()) == pytest.approx((shrink * 80.0) ** 2, rel=4 * math.sqrt(2 / n))
    denoiser, measurement = half_seen(0.6, 40.0, EDM(sigma_max=80.0))
    x = far(denoiser, measurement, samples=n, seed=3)
    # the last step is D itself, below y's level
    assert float(x[:, 0].var()) == pytest.approx(shrink**2 * (80.0**2 - 40.0**2), rel=4 * math.sqrt(2 / n))


def test_without_noise_y_is_met() -> None:
    denoiser, measurement = half_seen(0.6, 0.0, VP())
    x = DDRM()(denoiser, measurement, samples=9)
    torch.testing.assert_close(x[:, 0], torch.full((9,), 0.4, dtype=x.dtype))


def test_other_noise_is_whitened() -> None:
    denoiser, measurement = gaussian_problem(1)
    plain = DDRM()(denoiser, measurement, samples=4, seed=1)
    same = Measurement(measurement.y, measurement.operator, DiagonalNoise(torch.full((2,), 0.3, dtype=torch.float64)))
    torch.testing.assert_close(DDRM()(denoiser, same, samples=4, seed=1), plain, atol=1e-6, rtol=1e-6)


def test_bad_input() -> None:
    with pytest.raises(UserError, match=r"eta 1\.5"):
        DDRM(eta=1.5)
    with pytest.raises(UserError, match=r"eta_b -1"):
        DDRM(eta_b=-1.0)
