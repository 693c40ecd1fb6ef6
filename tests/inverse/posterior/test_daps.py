"""DAPS: what it leaves of the variance that A does not see, and how near it comes to a Gaussian posterior."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.cost import counted
from diffusion_lit.denoise import Denoiser, Posterior
from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, Measurement, Operator
from diffusion_lit.inverse.posterior import DAPS
from diffusion_lit.inverse.posterior.daps import descent
from diffusion_lit.inverse.proximal import LangevinDraw
from diffusion_lit.noise import EDM, VE, VP, Schedule
from diffusion_lit.samplers.grids import Karras
from tests.inverse.posterior.test_ddrm import half_seen
from tests.inverse.problems import gaussian_problem, whitened


def unseen_variance(v: float, steps: int, ode_steps: int, schedule: Schedule) -> float:
    """Of x_0: Var' = c^2 Var + r_t^2 + r_s^2, c the product of the Euler steps (v + r r') / (v + r^2) of the guess."""

    def level(t: Tensor) -> float:
        alpha, sigma = schedule(t)
        return float(sigma / alpha)

    times = Karras()(schedule, steps)
    variance = level(times[0]) ** 2
    for t, s in pairwise(times):
        c = 1.0
        for here, there in pairwise(descent(schedule, t, ode_steps if s > 0 else 1)):
            c *= (v + level(here) * level(there)) / (v + level(here) ** 2)
        variance = c**2 * variance + level(t) ** 2 + level(s) ** 2
    return variance


@pytest.mark.parametrize("ode_steps", [1, 4])
@pytest.mark.parametrize("schedule", [VP(), EDM()])
def test_the_variance_of_what_is_not_seen(ode_steps: int, schedule: Schedule) -> None:
    n, v = 8000, 0.6
    denoiser, measurement = half_seen(v, 0.2, schedule)
    x = DAPS(20, ode_steps)(denoiser, measurement, samples=n, seed=3)
    expected = unseen_variance(v, 20, ode_steps, schedule)
    assert float(x[:, 1].var()) / expected == pytest.approx(1, abs=4 * math.sqrt(2 / n))


@pytest.mark.parametrize(("power", "part"), [(1.0, 1.0), (0.5, 2.0)])
def test_fine_levels(power: float, part: float) -> None:
    """D shrinks x by v / (v + r^2), the ODE's end by its root: one is right in the limit, the other twice that."""
    v = 0.6
    alpha, sigma = EDM()(Karras()(EDM(), 1000))
    levels = (sigma / alpha).tolist()
    variance = levels[0] ** 2
    for r, after in pairwise(levels):
        variance = (v / (v + r**2)) ** (2 * (power if after else 1)) * variance + r**2 + after**2
    assert variance / v == pytest.approx(part, rel=0.02)


def test_a_gaussian_posterior() -> None:
    """W2 at 100 levels at most 0.25: 0.1 of 1,000 exact samples, and 0.15 for the length of the steps."""
    denoiser, measurement = gaussian_problem(1)
    x = DAPS(100)(denoiser, measurement, samples=1000, seed=7)
    assert whitened(x, denoiser.posterior(measurement))[1] < 0.25
    wide = DAPS(40, ode_steps=5)(denoiser, measurement, samples=1000, seed=7)
    assert whitened(wide, denoiser.posterior(measurement))[1] > 0.4


def test_langevin_agrees_with_the_exact_draw() -> None:
    n = 1000
    denoiser, measurement = half_seen(0.6, 0.3, VP())
    exact = DAPS(12)(denoiser, measurement, samples=n, seed=1)
    moved = DAPS(12, inner=LangevinDraw(60))(denoiser, measurement, samples=n, seed=1)
    error = (exact.var(0) / n).sqrt()
    assert bool(((exact.mean(0) - moved.mean(0)).abs() < 5 * error).all())
    assert bool(((exact.var(0) / moved.var(0)).log().abs() < 5 * 2 / math.sqrt(n)).all())


class Square(Operator):
    def forward(self, x: Tensor) -> Tensor:
        return x.square()


def test_an_operator_that_is_not_linear() -> None:
    """x^2 = 1 with noise: both signs are found, and y is met within its noise."""
    denoiser = GaussianDenoiser(torch.zeros(1), torch.tensor(1.0), VP())
    measurement = Measurement(torch.ones(1), Square((1,), (1,)), GaussianNoise(0.1))
    x = DAPS(10, inner=LangevinDraw(30))(denoiser, measurement, samples=200, seed=1)
    assert 0.3 < float((x > 0).double().mean()) < 0.7
    assert float(measurement.misfit(x).square().mean()) < 2


def test_cost_and_times() -> None:
    denoiser, measurement = gaussian_problem(1)
    for steps, ode_steps in ((1, 5), (6, 1), (6, 5)):
        method = DAPS(steps, ode_steps)
        with counted(denoiser) as cost:
            method(denoiser, measurement, samples=2)
        assert cost.forwards == method.nfe
    times = descent(VE(), torch.tensor(0.5, dtype=torch.float64), 6)
    assert len(times) == 7
    assert float(times[0]) == 0.5
    assert float(times[-1]) == 0
    assert bool((times.diff() < 0).all())


def test_what_is_not_a_number_is_told() -> None:
    class Broken(Denoiser):
        def forward(self, x_t: Tensor, t: Tensor, **condition) -> Posterior:
            return Posterior(x_t * math.nan)

    _, measurement = gaussian_problem(1)
    with pytest.raises(UserError, match="not finite"):
        DAPS(4)(Broken(VP()), measurement, samples=2)
    with pytest.raises(UserError, match="ode_steps: 0"):
        DAPS(ode_steps=0)
