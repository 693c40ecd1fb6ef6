"""FPS: populations together are right, with and without noise, also where the grid misses y's noise level."""

import pytest
import torch

from diffusion_lit.inverse import GaussianNoise, Measurement
from diffusion_lit.inverse.operators import operators
from diffusion_lit.inverse.posterior import FPS
from diffusion_lit.inverse.posterior.filtering import Level
from diffusion_lit.inverse.posterior.population import Cloud
from diffusion_lit.inverse.spectrum import Spectrum
from diffusion_lit.noise import VP
from tests.inverse.problems import gaussian_problem, image_problem, whitened


@pytest.mark.parametrize("seed", [1, 2])
def test_populations_together_are_right(seed: int) -> None:
    denoiser, measurement = gaussian_problem(seed)
    x = FPS(100, 40)(denoiser, measurement, samples=4000, seed=7)
    assert whitened(x, denoiser.posterior(measurement))[1] < 0.15


def test_a_grid_that_misses_the_noise_of_y_is_as_right() -> None:
    denoiser, measurement = gaussian_problem(1)

    class Unmoved(FPS):
        def times(self, schedule, spectrum):
            return self.grid(schedule, self.steps)

    x = Unmoved(100, 40)(denoiser, measurement, samples=4000, seed=7)
    assert whitened(x, denoiser.posterior(measurement))[1] < 0.15


def test_the_path_of_y_is_the_diffusion_of_y() -> None:
    """At each level N(alpha y, alpha^2 (r^2 - d^2)), the same for all particles of a population."""
    _, measurement = gaussian_problem(1)
    spectrum, n = Spectrum.of(measurement), 4000
    cloud = Cloud(0, torch.arange(n)[:, None], 2, 0.5, torch.device("cpu"))
    lead, ahead = FPS().lead(spectrum, cloud), torch.ones(2, dtype=torch.bool)
    for time in (1.0, 0.8, 0.6):
        alpha, sigma = VP()(torch.tensor(time, dtype=torch.float64))
        led = lead(Level(alpha, sigma / alpha), ahead)
        assert torch.equal(led.value[::2], led.value[1::2])
        w = (sigma / alpha) ** 2 - spectrum.deviation**2
        z = (led.value[::2] / alpha - spectrum.y) / w.sqrt()
        assert z.mean(0).abs().max().item() < 4 / n**0.5
        assert (z.var(0) - 1).abs().max().item() < 4 * (2 / n) ** 0.5


def test_without_noise_what_is_measured_is_kept() -> None:
    denoiser, x = image_problem(2)
    operator = operators["inpaint_half"](shape=(2, 5, 4))
    measurement = Measurement.simulate(operator, GaussianNoise(0.0), x, seed=2)
    out = FPS(12, 20)(denoiser, measurement, samples=3, seed=1)
    torch.testing.assert_close(operator(out.flatten(0, 1)), measurement.repeat(3).y)
