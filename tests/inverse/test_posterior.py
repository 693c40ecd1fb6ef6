"""Methods with a step of their own: each step against its formula."""

import math

import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, Measurement, methods
from diffusion_lit.inverse.operators import operators
from diffusion_lit.inverse.posterior import RePaint, Replacement
from diffusion_lit.inverse.posterior.jumps import forward_jump, schedule_jumps
from diffusion_lit.inverse.posterior.replacement import replace
from diffusion_lit.noise import VP
from diffusion_lit.randomness import Randomness
from tests.inverse.problems import gaussian_problem, image_problem


def at(t: float) -> torch.Tensor:
    return torch.tensor(t, dtype=torch.float64)


@pytest.mark.parametrize("sigma_y", [0.0, 0.2])
def test_replaced_pixels_are_a_draw_of_the_forward_process(sigma_y: float) -> None:
    """Over the noise of y and the fresh noise, alpha x_0 is the mean and sigma^2 the variance."""
    n = 4000
    x = torch.full((n, 1, 2, 2), 0.7, dtype=torch.float64)
    operator = operators["inpaint_mask"](shape=(1, 2, 2), mask=torch.tensor([[True, False], [False, False]]))
    measurement = Measurement.simulate(operator, GaussianNoise(sigma_y), x, seed=2)
    x_s = replace(VP(), measurement, torch.full_like(x, 9.0), at(0.3), Randomness(3, torch.arange(n)))
    assert bool((x_s[:, operator.hidden] == 9).all())
    alpha, sigma = (float(c) for c in VP()(at(0.3)))
    known = x_s[:, operator.observed].flatten()
    assert abs(float(known.mean()) - alpha * 0.7) < 4 * sigma / math.sqrt(3 * n)
    assert abs(float(known.var()) / sigma**2 - 1) < 4 * math.sqrt(2 / (3 * n))


def test_replacement_below_the_noise_of_y() -> None:
    """The grid passes y's own noise level, where x_s is alpha y; below it the model is left alone."""
    denoiser, x = image_problem()
    operator = operators["inpaint_box"](shape=(2, 5, 4), size=2)
    measurement = Measurement.simulate(operator, GaussianNoise(0.05), x, seed=2)
    times = Replacement(40).times(denoiser.schedule, measurement)
    assert len(times) == 41
    assert bool((times.diff() < 0).all())
    alpha, sigma = denoiser.schedule(times)
    level = (sigma / alpha - 0.05).abs().argmin()
    assert float(sigma[level] / alpha[level]) == pytest.approx(0.05, rel=1e-9)
    x_s = replace(denoiser.schedule, measurement, torch.zeros_like(x), times[level], Randomness(1, torch.arange(2)))
    known = alpha[level] * measurement.y
    torch.testing.assert_close(x_s, known, atol=1e-5, rtol=0)
    below = replace(
        denoiser.schedule, measurement, torch.zeros_like(x), times[level + 1], Randomness(1, torch.arange(2))
    )
    assert bool((below == 0).all())


@pytest.mark.parametrize("name", ["replacement", "repaint"])
def test_without_noise_the_measured_pixels_are_kept(name: str) -> None:
    denoiser, x = image_problem()
    operator = operators["inpaint_half"](shape=(2, 5, 4))
    measurement = Measurement.simulate(operator, GaussianNoise(0.0), x, seed=2)
    out = methods[name](steps=12)(denoiser, measurement, samples=3, seed=1)
    torch.testing.assert_close(operator(out.flatten(0, 1)), measurement.repeat(3).y)


def test_forward_jump_keeps_the_marginal() -> None:
    n, x_0 = 20000, 0.8
    (alpha_s, sigma_s), (alpha_t, sigma_t) = VP()(at(0.2)), VP()(at(0.4))
    x_s = alpha_s * x_0 + sigma_s * Randomness(1, torch.arange(n)).normal(1, dtype=torch.float64)
    x_t = forward_jump(VP(), x_s, at(0.2), at(0.4), Randomness(2, torch.arange(n)))
    assert abs(float(x_t.mean() - alpha_t * x_0)) < 4 * float(sigma_t) / math.sqrt(n)
    assert abs(float(x_t.var() / sigma_t**2) - 1) < 4 * math.sqrt(2 / n)


def test_repaint_walks_as_published() -> None:
    assert RePaint().nfe == 250 + 24 * 9 * 10
    assert schedule_jumps(5, 2, 2) == [5, 4, 3, 5, 4, 3, 2, 1, 3, 2, 1, 0]
    assert schedule_jumps(4, 10, 10) == [4, 3, 2, 1, 0]


def test_repaint_agrees_better_than_replacement() -> None:
    """Going back and forth lets the hidden pixels hear of the measured ones: their mean comes closer to the exact."""
    denoiser, x = image_problem(1)
    operator = operators["inpaint_box"](shape=(2, 5, 4), size=2)
    measurement = Measurement.simulate(operator, GaussianNoise(0.05), x[0], seed=2)
    exact = denoiser.posterior(measurement).means.reshape(2, 5, 4)
    errors = {}
    for name, method in {"plain": Replacement(50), "back": RePaint(50, jump_length=5, jump_n_sample=5)}.items():
        out = method(denoiser, measurement, samples=400, seed=1)
        errors[name] = float((out.mean(0) - exact)[operator.hidden].norm())
    assert errors["back"] < 0.7 * errors["plain"]


def test_bad_input() -> None:
    denoiser, measurement = gaussian_problem(1)
    for name in ("replacement", "repaint"):
        with pytest.raises(UserError, match="works with Inpainting operators, not with MatrixOperator"):
            methods[name](steps=2)(denoiser, measurement)
    with pytest.raises(UserError, match="steps: 0"):
        methods["ilvr"](steps=0)
    with pytest.raises(UserError, match="jump_length 0"):
        RePaint(jump_length=0)
