"""GradPaint: its step against the formula, and what it gains on replacement."""

import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, Measurement
from diffusion_lit.inverse.operators import operators
from diffusion_lit.inverse.posterior import GradPaint, Replacement
from diffusion_lit.inverse.posterior.base import ancestral
from diffusion_lit.inverse.posterior.gradpaint import seam
from diffusion_lit.noise import VP
from diffusion_lit.randomness import Randomness
from tests.inverse.problems import image_problem


def box(sigma: float, count: int = 2) -> tuple:
    denoiser, x = image_problem(count)
    operator = operators["inpaint_box"](shape=(2, 5, 4), size=2)
    return denoiser, Measurement.simulate(operator, GaussianNoise(sigma), x, seed=2)


def test_the_seam() -> None:
    hidden = torch.tensor([[[False, False, False], [False, True, True], [False, True, False]]])
    expected = torch.tensor([[[0.0, 1, 1], [1, 0, 0], [1, 0, 2]]], dtype=torch.float64)
    torch.testing.assert_close(seam(hidden), expected)
    assert seam(torch.tensor([False, True, True, False, False])).tolist() == [1, 0, 0, 1, 0]


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_a_step_is_its_formula(smooth: float) -> None:
    denoiser, measurement = box(0.0)
    t, s = torch.tensor(0.5, dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)
    x = torch.randn(2, 2, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean = denoiser(x, t).mean
    hidden = measurement.operator.hidden
    assert hidden is not None
    weight = torch.where(hidden, 0.0, 1 + smooth * seam(hidden))
    slope = (-2 * weight * (measurement.y - mean)).flatten(1)
    jacobian = torch.func.jacrev(lambda p: denoiser(p[None], t).mean[0].flatten())(x[0]).flatten(1)
    gradient = (slope @ jacobian).reshape(x.shape)
    gradient = gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]
    expected = ancestral(VP(), mean, x, t, s, Randomness(1, torch.arange(2))) - 0.3 * VP()(s)[1] * gradient
    method = GradPaint(rate=0.3, smooth=smooth)
    actual = method.step(denoiser, measurement, x, t, s, Randomness(1, torch.arange(2)))
    torch.testing.assert_close(actual[:, hidden], expected[:, hidden], atol=1e-6, rtol=1e-6)


def test_it_agrees_better_than_replacement() -> None:
    denoiser, measurement = box(0.05, 1)
    measurement = Measurement(measurement.y[0], measurement.operator, measurement.noise)
    exact, hidden = denoiser.posterior(measurement).means.reshape(2, 5, 4), measurement.operator.hidden
    errors = [
        float((method(denoiser, measurement, samples=400, seed=1).mean(0) - exact)[hidden].norm())
        for method in (Replacement(50), GradPaint(50))
    ]
    assert errors[1] < 0.9 * errors[0]


def test_no_move_is_replacement() -> None:
    denoiser, measurement = box(0.1)
    plain = Replacement(10)(denoiser, measurement, samples=2, seed=1)
    torch.testing.assert_close(GradPaint(10, rate=0.0)(denoiser, measurement, samples=2, seed=1), plain)


def test_where_y_is_met_nothing_moves() -> None:
    denoiser, measurement = box(0.0)
    t, x = torch.tensor(0.5, dtype=torch.float64), torch.zeros(2, 2, 5, 4, dtype=torch.float64)
    met = Measurement(measurement.operator(denoiser(x, t).mean), measurement.operator, GaussianNoise(0.0))
    assert bool(GradPaint().step(denoiser, met, x, t, t / 2, Randomness(1, torch.arange(2))).isfinite().all())


def test_bad_input() -> None:
    with pytest.raises(UserError, match=r"rate -1"):
        GradPaint(rate=-1.0)
