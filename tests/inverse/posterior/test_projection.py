"""Projection onto noised data: its published form, and the three methods that walk with it."""

import math

import pytest
import torch
from torch import Tensor

from diffusion_lit.cost import counted
from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, LinearOperator, Measurement
from diffusion_lit.inverse.guidance import DPS, Published
from diffusion_lit.inverse.operators import operators
from diffusion_lit.inverse.posterior import ILVR, MCG, ScoreSDEProjection
from diffusion_lit.inverse.posterior.base import ancestral
from diffusion_lit.inverse.posterior.replacement import replace
from diffusion_lit.inverse.posterior.score_sde_projection import project
from diffusion_lit.noise import VE, VP
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers import Langevin, Relative
from tests.inverse.problems import gaussian_problem, image_problem


def at(t: float) -> Tensor:
    return torch.tensor(t, dtype=torch.float64)


def stream(n: int) -> Randomness:
    return Randomness(3, torch.arange(n))


@pytest.mark.parametrize("lam", [1.0, 0.4])
def test_projection_is_the_published_form(lam: float) -> None:
    """T^-1 [lam L known + (1 - lam) L T x + (1 - L) T x] for an orthogonal T and a mask L."""
    generator = torch.Generator().manual_seed(0)
    transform = torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=torch.float64))[0]
    mask, x = torch.tensor([1.0, 0, 1, 0, 0]).double(), torch.randn(3, 5, generator=generator, dtype=torch.float64)
    y = torch.randn(2, generator=generator, dtype=torch.float64)
    measurement = Measurement(y, LinearOperator.from_matrix(transform[mask > 0]), GaussianNoise(0.0))
    (alpha, sigma), z = VP()(at(0.4)), stream(3).normal(5, dtype=torch.float64)
    known = alpha * torch.tensor([y[0], 0, y[1], 0, 0]) + sigma * z @ transform.mT
    of_x = x @ transform.mT
    expected = (lam * mask * known + (1 - lam) * mask * of_x + (1 - mask) * of_x) @ transform
    torch.testing.assert_close(project(VP(), measurement, x, at(0.4), stream(3), lam), expected)


@pytest.mark.parametrize("schedule", [VP(), VE()])
def test_for_inpainting_it_is_replacement(schedule) -> None:
    _, x = image_problem()
    operator = operators["inpaint_box"](shape=(2, 5, 4), size=2)
    measurement = Measurement.simulate(operator, GaussianNoise(0.0), x, seed=2)
    expected = replace(schedule, measurement, torch.ones_like(x), at(0.3), stream(2))
    torch.testing.assert_close(project(schedule, measurement, torch.ones_like(x), at(0.3), stream(2)), expected)


def test_mcg_is_a_dps_step_and_a_projection() -> None:
    denoiser, measurement = gaussian_problem(3)
    x, t, s = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64), at(0.5), at(0.45)
    for rule in (None, Published(0.3)):
        noise, actual = stream(4), MCG(rule=rule).step(denoiser, measurement, x, t, s, stream(4))
        mean = DPS(step=rule).guide(denoiser, measurement)(x, t).mean
        x_s = ancestral(VP(), mean, x, t, s, noise)
        torch.testing.assert_close(actual, project(VP(), measurement, x_s, s, noise))


@pytest.mark.parametrize("method", [ILVR(12), MCG(12)])
def test_without_noise_the_data_are_met(method: ILVR | MCG) -> None:
    denoiser, x = image_problem()
    for operator in (
        operators["average_pool"](shape=(2, 5, 4), factor=1),
        operators["gaussian_blur"](shape=(2, 5, 4), sigma=0.6),
        operators["inpaint_half"](shape=(2, 5, 4)),
    ):
        measurement = Measurement.simulate(operator, GaussianNoise(0.0), x, seed=2)
        out = method(denoiser, measurement, samples=3, seed=1)
        assert float(measurement.repeat(3).residual(out.flatten(0, 1)).abs().max()) < 1e-6


@pytest.mark.parametrize("method", [ILVR(30), MCG(30)])
def test_with_noise_the_data_are_met_all_the_same(method) -> None:
    """What is wrong with it: A x = y has no spread, where the posterior has, and repeats the noise of y."""
    denoiser, measurement = gaussian_problem(1)
    x = method(denoiser, measurement, samples=20, seed=1)
    assert float(measurement.residual(x).abs().max()) < 1e-9
    assert float(measurement.operator(denoiser.posterior(measurement).sample(500, 1)).std(0).min()) > 0.1


def test_a_step_of_the_medical_sampler_sees_no_more_than_y() -> None:
    """The last projection is at t_min: A x is y to within the noise and the steps of that time."""
    denoiser, measurement = gaussian_problem(1)
    x = ScoreSDEProjection(60)(denoiser, measurement, samples=50, seed=1)
    sigma = float(VP()(at(VP().t_min))[1])
    assert float(measurement.residual(x).abs().max()) < 5 * math.sqrt(2) * sigma
    half = ScoreSDEProjection(60, lam=0.05)(denoiser, measurement, samples=50, seed=1)
    assert float(measurement.residual(half).abs().mean()) > float(measurement.residual(x).abs().mean())


def test_ilvr_stops_when_told() -> None:
    denoiser, measurement = gaussian_problem(3)
    x = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain = ancestral(VP(), denoiser(x, at(0.5)).mean, x, at(0.5), at(0.4), stream(4))
    actual = ILVR(until=0.45).step(denoiser, measurement, x, at(0.5), at(0.4), stream(4))
    torch.testing.assert_close(actual, plain)
    assert not torch.allclose(ILVR(until=0.35).step(denoiser, measurement, x, at(0.5), at(0.4), stream(4)), plain)


def test_cost() -> None:
    denoiser, measurement = gaussian_problem(1)
    for method, cost in ((ScoreSDEProjection(5), (10, 0)), (ILVR(5), (5, 0)), (MCG(5), (5, 5))):
        with counted(denoiser) as spent:
            method(denoiser, measurement, samples=2)
        assert (spent.forwards, spent.vjps) == (method.nfe, method.vjps) == cost
    assert ScoreSDEProjection(5, corrector=Langevin(Relative(), 3)).nfe == 20


def test_bad_input() -> None:
    with pytest.raises(UserError, match="lam: 0"):
        ScoreSDEProjection(lam=0.0)
    with pytest.raises(UserError, match="until: 1"):
        ILVR(until=1.0)
