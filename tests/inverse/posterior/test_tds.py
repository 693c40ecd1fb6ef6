"""TDS and its twists against explicit matrices, and on exact posteriors."""

import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.inverse import CorrelatedNoise, GaussianNoise, Measurement
from diffusion_lit.inverse.operators import operators
from diffusion_lit.inverse.posterior import TDS, IsotropicTwist, TweedieTwist
from diffusion_lit.inverse.posterior.closing import law_of
from diffusion_lit.inverse.posterior.population import Cloud
from diffusion_lit.inverse.tangent import Tangent
from tests.inverse.problems import gaussian_problem, image_problem, whitened
from tests.inverse.test_paths import right, two_modes


def relative(log_psi: torch.Tensor) -> torch.Tensor:
    return log_psi - log_psi[0]


@pytest.mark.parametrize("iterations", [2, 4])
@pytest.mark.parametrize("correlated", [False, True])
def test_tweedie_twist_is_its_gaussian(iterations: int, correlated: bool) -> None:
    """With d_y iterations, unharmed by more, and where C differs from x_t to x_t, so that the determinant counts."""
    denoiser, measurement = two_modes()
    if correlated:
        denoiser, measurement = gaussian_problem(3)
        noise = CorrelatedNoise(torch.tensor([[0.2, 0.1], [0.1, 0.3]], dtype=torch.float64))
        measurement = Measurement(measurement.y, measurement.operator, noise)
    x = torch.randn(6, denoiser.event[0], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    at = Tangent.at(denoiser, x, torch.tensor(0.4, dtype=torch.float64))
    score, log_psi = TweedieTwist(iterations)(at, measurement, law_of(measurement))
    a, covariance = measurement.operator.matrix(), denoiser.covariance(x, torch.tensor(0.4))
    spread = a @ covariance @ a.mT + measurement.noise.covariance(len(a))
    mean = at.mean.detach() @ a.mT
    exact = torch.distributions.MultivariateNormal(mean, spread).log_prob(measurement.y)
    torch.testing.assert_close(relative(log_psi), relative(exact), atol=1e-6, rtol=1e-6)
    solved = torch.linalg.solve(spread, (measurement.y - mean)[..., None])
    pull = (covariance @ a.mT @ solved)[..., 0] * at.alpha / at.sigma**2
    torch.testing.assert_close(score, pull, atol=1e-6, rtol=1e-6)


def test_a_krylov_space_goes_on_where_it_ends() -> None:
    """Isotropic data seen as they are: the residual is an eigenvector, but the determinant is of all directions."""
    denoiser, _ = image_problem()
    denoiser.eigenvalues.fill_(0.5)
    operator = operators["average_pool"](shape=(2, 5, 4), factor=1)
    measurement = Measurement(torch.zeros(2, 5, 4, dtype=torch.float64), operator, GaussianNoise(0.3))
    t = torch.tensor(0.4, dtype=torch.float64)
    at = Tangent.at(denoiser, torch.ones(1, 2, 5, 4, dtype=torch.float64), t)
    few, many = (TweedieTwist(n)(at, measurement, law_of(measurement))[1] for n in (1, 40))
    value = float(denoiser.covariance(at.x_t.detach(), t)[0, 0, 0])
    one_direction = torch.log1p(torch.tensor(value / 0.09, dtype=torch.float64)) / 2
    torch.testing.assert_close(few - many, 39 * one_direction[None], atol=1e-6, rtol=1e-6)


def test_isotropic_twist_is_its_gaussian() -> None:
    denoiser, measurement = gaussian_problem(3)
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    at = Tangent.at(denoiser, x, torch.tensor(0.4, dtype=torch.float64))
    _, log_psi = IsotropicTwist(0.9)(at, measurement, law_of(measurement))
    a, s2 = measurement.operator.matrix(), (at.sigma / at.alpha) ** 2
    spread = s2 * 0.9 / (s2 + 0.9) * a @ a.mT + measurement.noise.covariance(2)
    exact = torch.distributions.MultivariateNormal(at.mean.detach() @ a.mT, spread).log_prob(measurement.y)
    torch.testing.assert_close(relative(log_psi), relative(exact), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_gaussian_posterior(seed: int) -> None:
    """W2 of .044 over five problems with 4,096 particles; exact samples .041 with 4,000."""
    denoiser, measurement = gaussian_problem(seed)
    x = TDS(100, 4096, TweedieTwist(2))(denoiser, measurement, samples=4096, seed=7)
    assert whitened(x, denoiser.posterior(measurement))[1] < 0.1


@pytest.mark.parametrize("twist", [TweedieTwist(1), IsotropicTwist(1.0)])
def test_modes_get_their_shares_whatever_the_twist(twist) -> None:
    denoiser, measurement = two_modes()
    posterior = denoiser.posterior(measurement)
    exact = (posterior.weights @ (posterior.means[:, 0] > 0).double()).item()
    found = [right(TDS(60, 1000, twist)(denoiser, measurement, samples=1000, seed=seed)) for seed in range(4)]
    assert torch.tensor(found).mean().item() == pytest.approx(exact, abs=0.05)


def test_an_exact_twist_needs_no_resampling_and_a_rough_one_does() -> None:
    denoiser, measurement = gaussian_problem(1)
    sizes = []
    for twist in (TweedieTwist(2), IsotropicTwist(100.0)):
        cloud = Cloud(0, torch.zeros(1, 1, dtype=torch.int64), 500, 0.0, torch.device("cpu"))
        with torch.no_grad():
            TDS(100, 500, twist).populate(denoiser, measurement, cloud)
        sizes.append(1 / cloud.log_w.softmax(1).square().sum().item() / 500)
    assert sizes[0] > 0.9
    assert sizes[1] < 0.8


def test_bad_input() -> None:
    denoiser, one = gaussian_problem(1)
    with pytest.raises(UserError, match="divides by the variance"):
        TDS(4)(denoiser, Measurement(one.y, one.operator, GaussianNoise(0.0)))
    with pytest.raises(UserError, match="iterations: 0"):
        TweedieTwist(0)
    with pytest.raises(UserError, match="data_variance: 0"):
        IsotropicTwist(0.0)
