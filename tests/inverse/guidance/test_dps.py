"""DPS: its two rules against their formulas, for any operator and noise, and what does not depend on the walk."""

import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, LaplaceNoise, LinearOperator, Measurement, Noise, PoissonNoise
from diffusion_lit.inverse.guidance import DPS, Published
from diffusion_lit.inverse.posterior.base import ancestral
from diffusion_lit.noise import VE, VP
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers import DDIM, DDPM
from tests.inverse.guidance.test_sda import Bent, T, points
from tests.inverse.problems import gaussian_problem, whitened


def at(t: float) -> Tensor:
    return torch.tensor(t, dtype=torch.float64)


def test_published_is_algorithm_1_on_its_chain() -> None:
    denoiser, measurement = gaussian_problem(3)
    a, x, t, s = measurement.linear.matrix(), points(4), at(0.5), at(0.499)
    mean = denoiser(x, t).mean
    jacobian = torch.func.jacrev(lambda p: denoiser(p[None], t).mean[0])(x[0])  # constant: the data are Gaussian
    residual = measurement.y - mean @ a.mT
    gradient = -(residual / residual.norm(dim=1, keepdim=True)) @ a @ jacobian
    step = ancestral(VP(), mean, x, t, s, Randomness(1, torch.arange(4)))
    guided = DPS(step=Published(0.7)).guide(denoiser, measurement)(x, t).mean
    actual = ancestral(VP(), guided, x, t, s, Randomness(1, torch.arange(4)))
    torch.testing.assert_close(actual, step - 0.7 * gradient, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("noise", [GaussianNoise(0.3), GaussianNoise(0.0), LaplaceNoise(0.2), PoissonNoise(5.0, 9.0)])
@pytest.mark.parametrize("bent", [False, True])
def test_line_search_is_its_formula(noise: Noise, bent: bool) -> None:
    denoiser, measurement = gaussian_problem(3)
    operator = Bent((4,), (2,)) if bent else measurement.operator
    measurement = Measurement(measurement.y, operator, noise)
    alpha, sigma = VP()(T)
    known = GaussianNoise(1e-7) if isinstance(noise, GaussianNoise) and noise.sigma == 0 else noise
    for i, x in enumerate(points(4)):
        mean = denoiser(x[None], T[i]).mean[0]
        jacobian = torch.func.jacrev(lambda p, i=i: denoiser(p[None], T[i]).mean[0])(x)
        predicted = operator(mean[None])[0]
        e = torch.func.grad(lambda v: known.log_likelihood(measurement.y[None], v[None])[0])(predicted)
        g = torch.func.jacrev(lambda p: operator(p[None])[0])(mean).mT @ e
        m, q = e @ (measurement.y - predicted), sigma[i] ** 2 / alpha[i] * g @ jacobian.mT @ g
        expected = mean + sigma[i] ** 2 / alpha[i] * m / (m + q) * jacobian.mT @ g
        actual = DPS().guide(denoiser, measurement)(x[None], T[i]).mean[0]
        torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-6)


def test_exact_for_one_measured_value() -> None:
    denoiser, _ = gaussian_problem(3)
    operator = LinearOperator.from_matrix(torch.tensor([[0.3, -0.5, 1.0, 0.2]]))
    measurement = Measurement(torch.tensor([0.7], dtype=torch.float64), operator, GaussianNoise(0.3))
    exact = denoiser.posterior(measurement)(points(4), T).mean
    torch.testing.assert_close(DPS().guide(denoiser, measurement)(points(4), T).mean, exact, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("schedule", [VP(), VE()])
def test_as_good_at_50_steps_as_at_200_and_as_ddim(schedule) -> None:
    """Its error on Gaussian data is that of one scalar for two variances, not of the walk."""
    vp, measurement = gaussian_problem(3)
    denoiser = GaussianDenoiser(vp.means[0], vp._full_covariances()[0], schedule)
    posterior = denoiser.posterior(measurement)

    def distance(method: DPS) -> float:
        return whitened(method(denoiser, measurement, samples=1000, seed=7), posterior)[1]

    few, many = distance(DPS(50)), distance(DPS(200))
    # 1,000 samples: .05 standard error of the mean and the spread together, each
    assert abs(few - many) < 0.15
    assert many < 0.55
    assert abs(distance(DPS(sampler=DDIM(30))) - distance(DPS(sampler=DDIM(120)))) < 0.15
    published = distance(DPS(step=Published(0.3), sampler=DDPM(50)))
    assert published > 2 * few


def test_finite_where_the_data_are_met() -> None:
    denoiser, measurement = gaussian_problem(3)
    x, t = torch.zeros(1, 4, dtype=torch.float64), at(0.5)
    mean = denoiser(x, t).mean
    met = Measurement(measurement.operator(mean)[0], measurement.operator, GaussianNoise(0.0))
    for rule in (None, Published()):
        assert bool(DPS(step=rule).guide(denoiser, met)(x, t).mean.isfinite().all())
    torch.testing.assert_close(DPS().guide(denoiser, met)(x, t).mean, mean)


def test_bad_input() -> None:
    with pytest.raises(UserError, match="steps: 0"):
        DPS(steps=0)
    with pytest.raises(UserError, match=r"zeta 0\.0"):
        Published(0.0)
