"""SDA: its score, through any operator and noise, and what its corrections mend."""

import pytest
import torch
from torch import Tensor

from diffusion_lit.cost import counted
from diffusion_lit.errors import UserError
from diffusion_lit.inverse import CorrelatedNoise, GaussianNoise, LaplaceNoise, Measurement, Operator, methods
from diffusion_lit.inverse.guidance.sda import SDA, ByNoise
from diffusion_lit.inverse.guidance.widened import widened_solve
from diffusion_lit.inverse.operators import operators
from diffusion_lit.noise import VP
from diffusion_lit.samplers import DDPM
from tests.inverse.guidance.affine import error
from tests.inverse.problems import gaussian_problem, image_problem, whitened

T = torch.tensor([0.02, 0.2, 0.5, 0.9], dtype=torch.float64)


def points(*event: int) -> Tensor:
    return torch.randn(len(T), *event, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Bent(Operator):
    """A map that is not linear."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack((x[:, 0] * x[:, 1], x[:, 2].sin()), dim=1)


@pytest.mark.parametrize("noise", [GaussianNoise(0.3), LaplaceNoise(0.2), CorrelatedNoise(torch.eye(2) + 0.5)])
@pytest.mark.parametrize("bent", [False, True])
def test_score_is_the_gradient_of_its_likelihood(noise, bent: bool) -> None:
    denoiser, measurement = gaussian_problem(3)
    operator = Bent((4,), (2,)) if bent else measurement.operator
    measurement = Measurement(measurement.y, operator, noise)
    spread = noise.gaussian(torch.zeros(1, 2)).covariance(2)
    alpha, sigma = VP()(T)
    for i, x in enumerate(points(4)):
        r2 = (sigma[i] / alpha[i]) ** 2

        def log_likelihood(p: Tensor, i: int = i, r2: Tensor = r2) -> Tensor:
            residual = measurement.y - operator(denoiser(p[None], T[i]).mean)[0]
            return -residual @ torch.linalg.solve(spread + 0.05 * r2 * torch.eye(2, dtype=torch.float64), residual) / 2

        mean, score = denoiser(x[None], T[i]).mean[0], torch.func.grad(log_likelihood)(x)
        guided = SDA(gamma=0.05).guide(denoiser, measurement)
        expected = mean + sigma[i] ** 2 / alpha[i] * score
        torch.testing.assert_close(guided(x[None], T[i]).mean[0], expected, atol=1e-8, rtol=1e-8)


def test_widened_noise_of_a_masked_measurement() -> None:
    _, x = image_problem(2)
    operator = operators["inpaint_random"](shape=(2, 5, 4), fraction=0.5)
    factor = torch.randn(20, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = CorrelatedNoise(factor @ factor.mT / 20 + 0.1 * torch.eye(20))
    measurement = Measurement(operator(x), operator, noise)
    variance = torch.tensor([0.3, 0.0], dtype=torch.float64)
    w = widened_solve(measurement, operator(x), variance, measurement.gaussian(x))
    for i in range(2):
        system = noise.covariance(20) + variance[i] * torch.eye(20, dtype=torch.float64)
        expected = operator.place(torch.linalg.solve(system, operator.observe(operator(x))[i])[None])[0]
        torch.testing.assert_close(w[i], expected, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("corrections", [0, 1, 3])
def test_cost_of_the_corrections(corrections: int) -> None:
    denoiser, measurement = gaussian_problem(1)
    method = SDA(steps=5, corrections=corrections)
    with counted(denoiser) as cost:
        method(denoiser, measurement, samples=3)
    assert (cost.forwards, cost.vjps) == (method.nfe, method.vjps) == (5 * (1 + corrections), 5 * (1 + corrections))


def test_a_correction_is_the_published_one() -> None:
    """x - sigma (delta eps + sqrt(2 delta) z) with delta = tau / mean eps^2, where eps is longer than noise."""
    t, x = torch.tensor(0.4, dtype=torch.float64), points(4)
    sigma = VP()(t)[1]
    eps = torch.tensor([[1.0, 2, -2, 1], [3, 0, 0, -4], [0.1, 0, 0, 0], [1, -1, 1, -1]], dtype=torch.float64)
    h = ByNoise(0.3)(VP(), t, -eps / sigma, x)
    delta = torch.tensor([0.3 / 2.5, 0.3 / 6.25, 0.3, 0.3], dtype=torch.float64)  # the third would be 120
    torch.testing.assert_close(h, sigma**2 * delta)


def test_on_gaussian_data_the_corrections_mend_what_gamma_breaks() -> None:
    """Near the data the guidance is right whatever Gamma is; corrections forget what was wrong before."""
    denoiser, measurement = gaussian_problem(3)
    uncorrected = error(SDA(sampler=DDPM(60, v=0.5)), seeds=(3,))[1]
    x = SDA(steps=60, corrections=3)(denoiser, measurement, samples=1000, seed=7)
    assert whitened(x, denoiser.posterior(measurement))[1] < uncorrected / 2


def test_bad_input() -> None:
    for options, message in (
        ({"gamma": 0.0}, "gamma: 0"),
        ({"corrections": -1}, "corrections: -1"),
        ({"tau": 0.0}, "tau: 0"),
    ):
        with pytest.raises(UserError, match=message):
            methods["sda"](**options)
