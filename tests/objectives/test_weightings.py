"""Weightings: the likelihood's and its bound, importance sampling, min-SNR."""

import math

import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser, GaussianMixtureDenoiser
from diffusion_lit.denoise import Denoiser, Posterior, expand
from diffusion_lit.noise import EDM, VE, VP, Cosine, Schedule
from diffusion_lit.objectives import (
    DenoisingScoreMatching,
    EpsWeighting,
    FixedTime,
    ImportanceWeighting,
    LikelihoodWeighting,
    LogSNRUniform,
    MinSNRWeighting,
    UniformTime,
)
from diffusion_lit.randomness import Randomness

T = torch.linspace(0.05, 1, 20, dtype=torch.float64)
every_schedule = pytest.mark.parametrize("schedule", [VP(), VE(), EDM(), Cosine()], ids=lambda s: type(s).__name__)


@every_schedule
def test_the_likelihood_weighting_is_half_the_fall_of_the_snr(schedule: Schedule):
    t = T.clone().requires_grad_()
    (slope,) = torch.autograd.grad(EpsWeighting()(schedule, t).sum(), t)
    torch.testing.assert_close(LikelihoodWeighting()(schedule, T), -slope / 2, rtol=1e-9, atol=0)


@every_schedule
def test_over_uniform_log_snr_it_is_the_weight_of_eps_times_half_the_range(schedule: Schedule):
    weighting = ImportanceWeighting(LikelihoodWeighting(), LogSNRUniform(1e-3))
    high, low = schedule.log_snr(torch.tensor([1e-3, 1.0], dtype=torch.float64)).tolist()
    expected = (high - low) / 2 * EpsWeighting()(schedule, T)
    torch.testing.assert_close(weighting(schedule, T), expected, rtol=1e-9, atol=0)


def test_min_snr_is_the_smaller():
    weights, snr = MinSNRWeighting(5.0)(VP(), T), EpsWeighting()(VP(), T)
    assert weights.max() == 5
    torch.testing.assert_close(weights[snr < 5], snr[snr < 5])
    assert bool((snr > 5).any())


class Scaled(Denoiser):
    """The exact denoiser of N(0, variance), its score multiplied: no diffused density has it."""

    def __init__(self, variance: float, factor: float, schedule: Schedule):
        super().__init__(schedule)
        self.exact, self.factor = GaussianDenoiser(torch.zeros(1), torch.tensor(variance), schedule), factor

    def forward(self, x_t: Tensor, t: Tensor, **condition) -> Posterior:
        alpha, sigma = (expand(c, x_t) for c in self.schedule(t))
        return Posterior((x_t + sigma**2 * self.factor * self.exact.score(x_t, t)) / alpha)


def kl(v: float, w: float) -> float:
    """KL(N(0, v) || N(0, w))."""
    return (v / w - 1 - math.log(v / w)) / 2


def marginal(variance: float, t: float) -> float:
    alpha, sigma = (float(c) for c in VP()(torch.tensor(t, dtype=torch.float64)))
    return alpha**2 * variance + sigma**2


T_MIN, DATA, N = 1e-3, 0.25, 40_000


def excess(denoiser: Denoiser, times) -> tuple[float, float]:
    """What the normalised loss has more than that of the exact denoiser, and its standard error."""
    objective = DenoisingScoreMatching(ImportanceWeighting(LikelihoodWeighting(), times), times)
    x_0 = DATA**0.5 * Randomness(9, torch.arange(N)).normal(1, dtype=torch.float64)
    exact = GaussianDenoiser(torch.zeros(1), torch.tensor(DATA), VP())
    losses = [objective(d, x_0, seed=0, positions=torch.arange(N)) for d in (denoiser, exact)]
    difference = losses[0] - losses[1]
    return difference.mean().item(), difference.std().item() / math.sqrt(N)


@pytest.mark.parametrize("times", [UniformTime(T_MIN), LogSNRUniform(T_MIN)], ids=["uniform", "importance"])
def test_the_bound_is_tight_for_a_true_score(times):
    """KL(p_s || q_s) = 1/2 int_s^1 g^2 E |score_p - score_q|^2 dt + KL(p_1 || q_1) (ScoreFlow), s = 0.001."""
    model = 0.6
    found, error = excess(GaussianDenoiser(torch.zeros(1), torch.tensor(model), VP()), times)
    expected = kl(marginal(DATA, T_MIN), marginal(model, T_MIN)) - kl(marginal(DATA, 1.0), marginal(model, 1.0))
    assert abs(found - expected) < 3 * error
    assert expected > 10 * error


def test_importance_sampling_is_the_steadier_estimate():
    exact, x_0 = GaussianDenoiser(torch.zeros(1), torch.tensor(DATA), VP()), torch.full((N, 1), 0.3).double()
    uniform, weighted = (
        DenoisingScoreMatching(ImportanceWeighting(LikelihoodWeighting(), times), times)(
            exact, x_0, seed=0, positions=torch.arange(N)
        )
        for times in (UniformTime(T_MIN), LogSNRUniform(T_MIN))
    )
    assert weighted.std() < uniform.std() / 3


def generated(factor: float, steps: int = 20_000) -> float:
    """The variance at s = 0.001 of the reverse SDE from N(0, 1) with the scaled score, by Heun's method."""
    times = torch.linspace(1, T_MIN, steps + 1, dtype=torch.float64)
    drift, g2 = VP().drift(times), VP().diffusion_squared(times)
    alpha, sigma = VP()(times)
    rates = 2 * (drift + g2 * factor / (alpha**2 * DATA + sigma**2))  # dv = (g^2 - rate v) of time that runs down
    rate, g2, h = rates.tolist(), g2.tolist(), (1 - T_MIN) / steps
    v = 1.0
    for i in range(steps):
        first = -rate[i] * v + g2[i]
        second = -rate[i + 1] * (v + h * first) + g2[i + 1]
        v += h * (first + second) / 2
    return v


@pytest.mark.parametrize("factor", [0.8, 1.3])
def test_the_bound_holds_for_a_score_that_is_none(factor: float):
    weighted, error = excess(Scaled(DATA, factor, VP()), LogSNRUniform(T_MIN))
    uniform, uniform_error = excess(Scaled(DATA, factor, VP()), UniformTime(T_MIN))
    assert abs(weighted - uniform) < 3 * math.hypot(error, uniform_error)
    # E |score_p|^2 = 1 / v_t, so the integral is known
    t = LogSNRUniform(T_MIN)(torch.linspace(0, 1, 20_001, dtype=torch.float64), VP())
    alpha, sigma = VP()(t)
    integral = torch.trapezoid(VP().diffusion_squared(t) * (1 - factor) ** 2 / (alpha**2 * DATA + sigma**2) / 2, t)
    assert abs(weighted - integral.item()) < 3 * error
    truth = kl(marginal(DATA, T_MIN), generated(factor))
    bound = integral.item() + kl(marginal(DATA, 1.0), 1.0)
    assert 0.01 < truth < bound


def test_denoising_is_explicit_score_matching_plus_a_constant():
    """J_DSM - J_ESM = d / (2 sigma^2) - 1/2 E |grad log p_sigma|^2 for any score (Vincent 2011), here another's."""
    schedule, time, n = VE(), 0.5, 40_000
    means = torch.tensor([[-2.0, 0.0], [1.0, 1.0], [0.0, -1.5]])
    exact = GaussianMixtureDenoiser(torch.tensor([0.2, 0.3, 0.5]), means, torch.tensor([0.1, 0.4, 0.2]), schedule)
    model = GaussianMixtureDenoiser(torch.ones(3), means.flip(1), torch.tensor([0.3, 0.3, 0.3]), schedule)
    x_0, t = exact.sample(n, seed=3), torch.tensor(time, dtype=torch.float64)
    sigma = schedule(t)[1]
    loss = DenoisingScoreMatching(EpsWeighting(), FixedTime(time))(model, x_0, seed=0, positions=torch.arange(n))
    denoising = loss * 2 / (2 * sigma**2)  # the error of eps, a dimension, as the score's
    x_t = x_0 + sigma * Randomness(0, torch.arange(n)).normal(2, dtype=torch.float64)
    score = exact.score(x_t, t)
    explicit = (model.score(x_t, t) - score).square().sum(1) / 2
    difference = denoising - explicit - (2 / (2 * sigma**2) - score.square().sum(1) / 2)
    assert explicit.mean() > 0.01
    assert abs(difference.mean().item()) < 3 * difference.std().item() / math.sqrt(n)
