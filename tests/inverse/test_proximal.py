"""Draws around a point that have seen y, against the closed form of the Gaussian case."""

import math

import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse import CorrelatedNoise, GaussianNoise, LaplaceNoise, LinearOperator, Measurement, Operator
from diffusion_lit.inverse.noise import Noise
from diffusion_lit.inverse.proximal import ExactDraw, LangevinDraw, proximal_draw
from diffusion_lit.noise import VP
from diffusion_lit.randomness import Randomness
from tests.inverse.problems import gaussian_problem

N = 4000
CENTRE = torch.tensor([0.3, -1.0, 0.5, 2.0], dtype=torch.float64)


def at(r: float) -> Tensor:
    return torch.tensor(r, dtype=torch.float64)


@pytest.mark.parametrize("noise", [GaussianNoise(0.3), CorrelatedNoise(torch.tensor([[0.2, 0.1], [0.1, 0.4]]))])
@pytest.mark.parametrize("draw", [ExactDraw(), LangevinDraw(300)])
def test_the_law_of_the_draw(noise: Noise, draw: ExactDraw | LangevinDraw) -> None:
    _, measurement = gaussian_problem(1)
    measurement = Measurement(measurement.y, measurement.operator, noise)
    r = 0.8
    exact = GaussianDenoiser(CENTRE, torch.tensor(r**2), VP()).posterior(measurement)
    z = draw(measurement, CENTRE.expand(N, 4), at(r), Randomness(3, torch.arange(N)))
    covariance = exact._full_covariances()[0]
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), (z - exact.means[0]).mT, upper=False)
    assert float(white.mean(1).abs().max()) < 4 / math.sqrt(N)
    # eigenvalues of a sample covariance of 4 numbers: 1 within 2 sqrt(4 / N), and a little
    assert float((torch.linalg.eigvalsh(torch.cov(white)) - 1).abs().max()) < 2.5 * math.sqrt(4 / N)


def test_without_noise_y_is_met() -> None:
    _, measurement = gaussian_problem(1)
    measurement = Measurement(measurement.y, measurement.operator, GaussianNoise(0.0))
    z = ExactDraw()(measurement, CENTRE.expand(9, 4).float(), at(0.8), Randomness(3, torch.arange(9)))
    assert z.dtype == torch.float32
    torch.testing.assert_close(measurement.operator(z), measurement.y.float().expand(9, 2), atol=1e-5, rtol=1e-5)


class Cube(Operator):
    def forward(self, x: Tensor) -> Tensor:
        return x**3


def test_langevin_on_a_curved_likelihood() -> None:
    """One number, cubed and measured: mean and variance against quadrature."""
    measurement = Measurement(torch.tensor([1.0], dtype=torch.float64), Cube((1,), (1,)), GaussianNoise(0.3))
    grid = torch.linspace(-4, 4, 8001, dtype=torch.float64)[:, None]
    weight = (measurement.log_likelihood(grid) - (grid[:, 0] - 0.4).square() / (2 * 0.5**2)).softmax(0)
    mean = (weight * grid[:, 0]).sum()
    variance = (weight * (grid[:, 0] - mean).square()).sum()
    start = torch.full((N, 1), 0.4, dtype=torch.float64)
    z = LangevinDraw(200)(measurement, start, at(0.5), Randomness(3, torch.arange(N)))
    assert abs(float(z.mean() - mean)) < 4 * float(variance / N) ** 0.5
    assert abs(float(z.var() / variance) - 1) < 0.12  # 4 standard errors of a variance, with a kurtosis of 4


def test_a_draw_depends_on_its_own_stream() -> None:
    _, measurement = gaussian_problem(1)
    for draw in (ExactDraw(), LangevinDraw(20)):
        together = draw(measurement, CENTRE.expand(8, 4), at(0.8), Randomness(3, torch.arange(8)))
        alone = draw(measurement, CENTRE.expand(1, 4), at(0.8), Randomness(3, torch.tensor([5])))
        torch.testing.assert_close(alone[0], together[5], atol=1e-9, rtol=1e-9)


def test_the_choice() -> None:
    _, measurement = gaussian_problem(1)
    assert proximal_draw(measurement) == ExactDraw()
    assert proximal_draw(Measurement(measurement.y, measurement.operator, LaplaceNoise(0.1))) == LangevinDraw()
    assert proximal_draw(Measurement(torch.ones(4), Cube((4,), (4,)), GaussianNoise(0.1))) == LangevinDraw()


def test_bad_input() -> None:
    class Root(Operator):
        def forward(self, x: Tensor) -> Tensor:
            return x.sqrt()

    measurement = Measurement(torch.ones(4), Root((4,), (4,)), GaussianNoise(0.1))
    with pytest.raises(UserError, match="through Root is not finite where Langevin's moves begin"):
        LangevinDraw()(measurement, -torch.ones(2, 4), at(0.5), Randomness(3, torch.arange(2)))
    with pytest.raises(UserError, match="moves: 0"):
        LangevinDraw(0)
    exact = Measurement(torch.ones(2), LinearOperator.from_matrix(torch.eye(2)), GaussianNoise(0.0))
    with pytest.raises(UserError, match="has no likelihood"):
        LangevinDraw()(exact, torch.zeros(2, 2), at(0.5), Randomness(3, torch.arange(2)))
