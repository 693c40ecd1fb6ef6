import math

import pytest
import torch
from torch import Tensor

from diffusion_lit.noise import EDM, VE, VP, DiscreteVP, Schedule, SubVP
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers import (
    Constant,
    EulerMaruyama,
    Langevin,
    PredictorCorrector,
    Relative,
    ReverseDiffusion,
    Sampler,
)
from diffusion_lit.samplers.base import Mean

from .exact import Impulses, independent, propagate


def f64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def variance(schedule: Schedule, t: float, data: float = 0.25) -> float:
    alpha, sigma = schedule(f64(t))
    return (data * alpha**2 + sigma**2).item()


def marginal_error(sampler: Sampler, schedule: Schedule, steps: int, end: float) -> float:
    """Of the variance at time `end`, started from the exact law at t = 1."""
    times = torch.linspace(1.0, end, steps + 1, dtype=torch.float64)
    reached = propagate(sampler, independent(f64(0.25), schedule), times, variance(schedule, 1.0)).item()
    return reached / variance(schedule, end) - 1


@pytest.mark.parametrize(
    ("make", "schedule", "lam"),
    [
        (EulerMaruyama, VP(), 0.0),
        (EulerMaruyama, VP(), 0.6),
        (EulerMaruyama, VP(), 1.0),
        (EulerMaruyama, SubVP(), 1.0),
        (EulerMaruyama, VE(), 1.0),
        (ReverseDiffusion, VP(), 0.0),
        (ReverseDiffusion, VP(), 1.0),
        (ReverseDiffusion, VE(), 1.0),
    ],
    ids=lambda x: getattr(x, "__name__", None) or (str(x) if isinstance(x, float) else type(x).__name__),
)
def test_marginals_match_on_the_way_at_weak_order_one(
    make: type[EulerMaruyama] | type[ReverseDiffusion], schedule: Schedule, lam: float
):
    """Anderson's reversal, and every lambda between it and the flow: the law at t = .5 is the forward one."""
    coarse, fine = (marginal_error(make(n, lam), schedule, n, 0.5) for n in (60, 120))
    assert 2 * fine - coarse == pytest.approx(0, abs=0.01)  # the limit, extrapolated: the law itself
    assert math.log2(abs(coarse / fine)) == pytest.approx(1, abs=0.1)


@pytest.mark.usefixtures("unchecked")
def test_a_chain_of_a_thousand_steps_samples_the_data():
    schedule = DiscreteVP.linear(1000)
    times = ReverseDiffusion().grid(schedule, 1000)
    data = f64(1.0, 0.25)
    reached = propagate(ReverseDiffusion(), independent(data, schedule), times, 1.0)
    torch.testing.assert_close(reached, data, rtol=0.02, atol=0)


def test_reverse_diffusion_on_its_chain_is_equation_46():
    """x_i = (2 - sqrt(1 - beta)) x + beta score + sqrt(beta) z."""
    schedule, i = DiscreteVP.linear(1000), 700
    beta = schedule.betas(1000)[i - 1].item()
    times, x = f64(i / 1000, (i - 1) / 1000), f64(1.3, 0.0)[:, None]
    rows = ReverseDiffusion(1000).integrate(independent(f64(0.25), schedule), x, times, Impulses(2))[:, 0]
    score = -1.3 / variance(schedule, i / 1000)
    assert rows[0].item() == pytest.approx((2 - math.sqrt(1 - beta)) * 1.3 + beta * score, rel=1e-9)
    assert rows[1].item() == pytest.approx(math.sqrt(beta), rel=1e-6)


def test_the_corrector_comes_before_every_step():
    schedule, times = VP(), f64(0.6, 0.5)
    denoiser, noise = independent(f64(0.25, 1.0), schedule), Randomness(0, torch.arange(3))
    x = Randomness(1, torch.arange(3)).normal(2, dtype=torch.float64)
    sampler = PredictorCorrector(ReverseDiffusion(1), Langevin(Constant(0.01), moves=3))
    together = sampler.integrate(denoiser, x, times, noise)
    again = Randomness(0, torch.arange(3))
    x = Langevin(Constant(0.01), moves=3)(Mean(denoiser), x, times[0], again)
    torch.testing.assert_close(ReverseDiffusion(1).integrate(denoiser, x, times, again), together)
    assert sampler.nfe == 4


@pytest.mark.parametrize("schedule", [VP(), EDM()], ids=["vp", "edm"])
def test_correction_brings_a_coarse_predictor_nearer(schedule: Schedule):
    """N(0, 1/4) by 20 steps of the predictor, with 0 and with 4 moves a step: less error in the final variance."""
    predictor = ReverseDiffusion(20, lam=1.0)
    times, denoiser = predictor.grid(schedule, 20), independent(f64(0.25), schedule)
    start = schedule(f64(1.0))[1].item() ** 2
    alone = propagate(predictor, denoiser, times, start).item() / 0.25 - 1
    sampler = PredictorCorrector(predictor, Langevin(Relative(0.3), moves=4))
    rows = torch.zeros(20 * 5 + 1, 1, dtype=torch.float64)
    rows[0] = start**0.5
    corrected = sampler.integrate(denoiser, rows, times, Impulses(len(rows))).square().sum().item() / 0.25 - 1
    assert abs(corrected) < abs(alone)
