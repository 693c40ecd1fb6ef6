"""RED-diff: its gradient as published, and that it finds a point."""

import pytest
import torch
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, Measurement, Operator
from diffusion_lit.inverse.posterior import REDDiff
from diffusion_lit.noise import EDM, VP, Schedule
from tests.inverse.posterior.test_ddrm import half_seen
from tests.inverse.problems import gaussian_problem


@pytest.mark.parametrize("lam", [0.0, 0.25])
def test_the_gradient_is_the_published_one(lam: float) -> None:
    denoiser, measurement = gaussian_problem(3)
    a, t = measurement.linear.matrix(), torch.tensor(0.4, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    mu, eps = (torch.randn(5, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    alpha, sigma = VP()(t)
    weight = lam * sigma / alpha
    expected = (mu @ a.mT - measurement.y) @ a + weight * (denoiser.eps(alpha * mu + sigma * eps, t) - eps)
    actual = REDDiff(lam=lam).gradient(denoiser, measurement, mu, t, eps)
    torch.testing.assert_close(actual, expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("schedule", [VP(), EDM()])
def test_it_is_an_optimiser(schedule: Schedule) -> None:
    """What is seen ends at y, the rest at the prior's mean; the spread is Adam's, in proportion to its rate."""
    denoiser, measurement = half_seen(0.6, 0.2, schedule)
    fast, slow = (REDDiff(200, rate=rate)(denoiser, measurement, samples=100, seed=1) for rate in (0.1, 0.01))
    for x in (fast, slow):
        assert float((x[:, 0] - 0.4).abs().mean()) < 0.05
        assert abs(float(x[:, 1].mean())) < 4 * float(x[:, 1].std()) / 10
    assert float(slow[:, 1].std()) < 0.5 * float(fast[:, 1].std())


def test_an_operator_that_is_not_linear() -> None:
    class Cube(Operator):
        def forward(self, x: Tensor) -> Tensor:
            return x**3

    denoiser, _ = half_seen(0.6, 0.2, VP())
    measurement = Measurement(torch.full((2,), 0.125), Cube((2,), (2,)), GaussianNoise(0.0))
    x = REDDiff(500, lam=0.0, rate=0.02)(denoiser, measurement, samples=2)
    assert x.shape == (2, 2)


def test_bad_input() -> None:
    with pytest.raises(UserError, match=r"rate 0"):
        REDDiff(rate=0.0)
