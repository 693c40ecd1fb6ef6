"""MCGDiff on exact posteriors, and what leads it."""

import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, LinearOperator, Measurement
from diffusion_lit.inverse.operators import operators
from diffusion_lit.inverse.posterior import MCGDiff
from diffusion_lit.inverse.posterior.filtering import Level
from diffusion_lit.inverse.posterior.population import Cloud
from diffusion_lit.inverse.spectrum import Spectrum
from diffusion_lit.noise import VP
from tests.inverse.problems import gaussian_problem, image_problem, whitened

CLOUD = Cloud(0, torch.zeros(1, 1, dtype=torch.int64), 2, 0.5, torch.device("cpu"))


@pytest.mark.parametrize(("data_variance", "bar"), [(None, 0.15), (1.0, 0.12)])
def test_gaussian_posterior(data_variance: float | None, bar: float) -> None:
    distances = []
    for seed in (1, 2, 3):
        denoiser, measurement = gaussian_problem(seed)
        x = MCGDiff(100, 4096, data_variance=data_variance)(denoiser, measurement, samples=4096, seed=7)
        distances.append(whitened(x, denoiser.posterior(measurement))[1])
    assert torch.tensor(distances).mean().item() < bar


def test_the_times_meet_the_noise_of_each_coordinate() -> None:
    _, measurement = gaussian_problem(1)
    spectrum, method = Spectrum.of(measurement), MCGDiff(50)
    alpha, sigma = VP()(method.times(VP(), spectrum))
    for deviation in spectrum.deviation:
        assert ((sigma / alpha)[:-1] / deviation - 1).abs().min().item() < 1e-6
    assert bool((method.times(VP(), spectrum).diff() < 0).all())


def test_its_potential_is_the_published_one_or_knows_the_data() -> None:
    """g(x) prop N(x; alpha y, alpha^2 (r^2 - d^2)); with a variance, p(y | x) of Gaussian data."""
    _, measurement = gaussian_problem(1)
    spectrum, x = Spectrum.of(measurement), torch.linspace(-3, 3, 5, dtype=torch.float64)[:, None]
    alpha, sigma = VP()(torch.tensor(0.7, dtype=torch.float64))
    level, ahead = Level(alpha, sigma / alpha), torch.ones(2, dtype=torch.bool)
    w = level.ratio**2 - spectrum.deviation**2
    for v in (None, 2.0):
        led = MCGDiff(data_variance=v).lead(spectrum, CLOUD)(level, ahead)
        log_g = -((led.value - led.slope * x) ** 2) / (2 * led.variance)
        if v is None:
            exact = -((x - alpha * spectrum.y) ** 2) / (2 * alpha**2 * w)
        else:  # x_s / alpha = y + N(0, w) and y ~ N(0, v + d^2)
            precision = 1 / (v + spectrum.deviation**2) + 1 / w
            exact = -((spectrum.y - x / alpha / w / precision) ** 2) * precision / 2
        torch.testing.assert_close(log_g, exact)


def test_without_noise_what_is_measured_is_kept() -> None:
    denoiser, x = image_problem(2)
    operator = operators["inpaint_half"](shape=(2, 5, 4))
    measurement = Measurement.simulate(operator, GaussianNoise(0.0), x, seed=2)
    out = MCGDiff(12, 32, data_variance=0.3)(denoiser, measurement, samples=3, seed=1)
    torch.testing.assert_close(operator(out.flatten(0, 1)), measurement.repeat(3).y)


def test_noise_beyond_the_chain_and_none_at_all_in_one_measurement() -> None:
    """Singular values so far apart that one coordinate is met at t = 1 and one at the data."""
    denoiser, _ = gaussian_problem(1)
    matrix = torch.diag(torch.tensor([1e4, 1e-4], dtype=torch.float64)) @ torch.eye(2, 4, dtype=torch.float64)
    measurement = Measurement(
        torch.tensor([2e3, 0.1], dtype=torch.float64), LinearOperator.from_matrix(matrix), GaussianNoise(0.1)
    )
    x = MCGDiff(100, 2000, data_variance=1.0)(denoiser, measurement, samples=2000)
    assert whitened(x, denoiser.posterior(measurement))[1] < 0.25


def test_bad_input() -> None:
    with pytest.raises(UserError, match="data_variance: -1"):
        MCGDiff(data_variance=-1.0)
