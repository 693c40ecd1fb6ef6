"""Measurements: likelihood, misfit, simulation and the exact posterior through every kind of operator."""

import math

import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, Measurement
from diffusion_lit.inverse.operators import operators
from diffusion_lit.randomness import Randomness
from tests.inverse.problems import gaussian_problem, image_problem


def test_log_likelihood_and_misfit_count_measured_pixels_only() -> None:
    _, x = image_problem()
    operator = operators["inpaint_random"](shape=x.shape[1:], fraction=0.3)
    measurement = Measurement.simulate(operator, GaussianNoise(0.2), x, seed=4)
    assert measurement.batched
    residual = operator.observe(measurement.y - operator(x))
    normal = torch.distributions.Normal(0.0, torch.tensor(0.2, dtype=torch.float64))
    torch.testing.assert_close(measurement.log_likelihood(x), normal.log_prob(residual).sum(1))
    torch.testing.assert_close(measurement.misfit(x), residual.norm(dim=1) / 0.2)


def test_expected_misfit_is_met_by_the_truth() -> None:
    _, x = image_problem(count=400)
    operator = operators["average_pool"](shape=(2, 5, 4), factor=1)
    measurement = Measurement.simulate(operator, GaussianNoise(0.2), x, seed=4)
    misfit = measurement.misfit(x)
    # the standard deviation of a chi is about 1 / sqrt 2
    assert abs(float(misfit.mean()) - measurement.expected_misfit) < 4 * math.sqrt(0.5 / 400)
    assert measurement.expected_misfit == pytest.approx(math.sqrt(40 - 0.5), rel=1e-3)


def test_simulated_noise_follows_its_id_and_is_nobody_elses() -> None:
    _, x = image_problem(count=4)
    operator = operators["average_pool"](shape=(2, 5, 4), factor=1)
    noise = GaussianNoise(0.2)
    whole = Measurement.simulate(operator, noise, x, seed=4)
    part = Measurement.simulate(operator, noise, x[2:3], seed=4, ids=torch.tensor([2]))
    torch.testing.assert_close(part.y[0], whole.y[2])
    one = Measurement.simulate(operator, noise, x[0], seed=4)
    assert not one.batched
    torch.testing.assert_close(one.y, whole.y[0])
    # a sampler with the same seed and id starts from other numbers
    start = Randomness(4, torch.arange(4)).normal(2, 5, 4, dtype=torch.float64)
    correlation = (start * (whole.y - operator(x)) / 0.2).mean()
    assert abs(float(correlation)) < 4 / math.sqrt(160)


def test_posterior_is_bayes_rule_through_a_mask() -> None:
    denoiser, x = image_problem()
    operator = operators["inpaint_box"](shape=(2, 5, 4), size=2)
    measurement = Measurement.simulate(operator, GaussianNoise(0.2), x[0], seed=1)
    posterior = denoiser.posterior(measurement)
    points = denoiser.sample(5, 3)
    difference = posterior.log_prob(points) - denoiser.log_prob(points) - measurement.log_likelihood(points)
    torch.testing.assert_close(difference, difference[:1].expand(5), atol=1e-6, rtol=1e-6)


def test_bad_input() -> None:
    _, measurement = gaussian_problem(1)
    operator = measurement.operator
    with pytest.raises(UserError, match=r"shape \(3,\).*measures \(2,\)"):
        Measurement(torch.zeros(3), operator, GaussianNoise(0.1))
    with pytest.raises(UserError, match="1 measured entries are not finite"):
        Measurement(torch.tensor([0.0, torch.nan]), operator, GaussianNoise(0.1))
    with pytest.raises(UserError, match="sigma: -1"):
        GaussianNoise(-1.0)
    noiseless = Measurement(torch.zeros(2), operator, GaussianNoise(0.0))
    with pytest.raises(UserError, match="sigma > 0"):
        noiseless.misfit(torch.zeros(1, 4))
