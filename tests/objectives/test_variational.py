"""The bound on exact denoisers, where each term is known; the decoder; the hybrid's gradients."""

import math
import pickle
from itertools import pairwise

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from diffusion_lit.analytic import GaussianDenoiser, GaussianMixtureDenoiser
from diffusion_lit.denoise import EPS, Interpolated, NetworkDenoiser, Posterior, step_variance
from diffusion_lit.networks.mlp import MLP
from diffusion_lit.noise import VP, DiscreteVP
from diffusion_lit.objectives import (
    Continuous,
    DenoisingScoreMatching,
    DiscreteTime,
    Discretised,
    EpsWeighting,
    FixedVariance,
    Hybrid,
    LearnedVariance,
    Variational,
)
from diffusion_lit.objectives.variational import decoder_term, prior_term, step_term
from diffusion_lit.randomness import Randomness, weyl

LINEAR = DiscreteVP.linear(1000)


def float64(*shape: int, seed: int = 0) -> Tensor:
    return Randomness(seed, torch.arange(shape[0])).normal(*shape[1:], dtype=torch.float64)


@pytest.mark.parametrize(("v", "value"), [(1.0, 1.418938533), (0.0, 1.883831)])
def test_the_bound_of_the_exact_denoiser_on_a_standard_normal(v: float, value: float):
    """With beta it is the entropy: no gap. E (x_0 - D)^2 = Var[x_0 | x_t] stands for the square, E x_0^2 = 1."""
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    x_0, zeros = torch.ones(1000, 1, dtype=torch.float64), torch.zeros(1000, 1, dtype=torch.float64)
    posterior = GaussianDenoiser(torch.zeros(1), torch.tensor(1.0), LINEAR)(zeros, t)
    s = t - 1 / 1000
    variance = step_variance(LINEAR, FixedVariance(1000, v)(posterior, LINEAR, t), t, s.clamp_min(0))
    error = posterior.variance.sqrt()
    terms = step_term(LINEAR, error[1:], zeros[1:], variance[1:], t[1:], s[1:])
    total = prior_term(LINEAR, x_0[:1]) + terms.sum() + decoder_term(error[:1], zeros[:1], variance[:1], Continuous())
    assert total.item() == pytest.approx(value, abs=1e-9 if v == 1 else 5e-7)
    assert math.log(2 * math.pi * math.e) / 2 == pytest.approx(1.418938533, abs=1e-9)


def stratified(objective: Variational, denoiser, x_0: Tensor, each: int) -> tuple[float, float]:
    """The mean of the losses, `each` of every step, and its standard error: steps drawn at random would add to it."""
    steps = objective.steps
    t = (torch.arange(1, steps + 1, dtype=torch.float64) / steps).repeat_interleave(each)
    loss = objective.loss_at(denoiser, x_0, t, seed=0, positions=torch.arange(len(t))).reshape(steps, each)
    return loss.mean().item(), (loss.var(1) / each).sum().sqrt().item() / steps


@pytest.mark.parametrize("variance", [LearnedVariance(), FixedVariance(20, v=1.0)])
def test_the_objective_estimates_the_bound(variance):
    """On N(0, I) it is the entropy, for a chain of any length."""
    denoiser = GaussianDenoiser(torch.zeros(2), torch.tensor(1.0), DiscreteVP.linear(20, 0.01, 0.5))
    found, error = stratified(Variational(20, variance, Continuous()), denoiser, float64(100_000, 2, seed=5), 5000)
    # per dimension, in nats; three standard errors
    assert abs(found - 1.418938533) < 3 * error
    assert error < 0.02


def test_a_sample_is_given_one_step_of_equal_chances():
    denoiser, n = GaussianDenoiser(torch.zeros(2), torch.tensor(1.0), DiscreteVP.linear(10)), 40
    objective, x_0, positions = (
        Variational(10, LearnedVariance(), Continuous()),
        float64(40, 2, seed=5),
        torch.arange(n),
    )
    t = DiscreteTime(10)(weyl(0, positions), denoiser.schedule)
    assert len(t.unique()) == 10
    expected = objective.loss_at(denoiser, x_0, t, seed=0, positions=positions)
    torch.testing.assert_close(objective(denoiser, x_0, seed=0, positions=positions), expected)


def test_the_bound_is_above_the_entropy_of_a_mixture_and_near_it():
    """The learned variance of a mixture's exact denoiser; the chain's steps are only nearly Gaussian."""
    schedule, means = DiscreteVP.linear(100, 1e-3, 0.2), torch.tensor([[-2.0], [1.0]])
    denoiser = GaussianMixtureDenoiser(torch.tensor([0.3, 0.7]), means, torch.tensor([0.1, 0.4]), schedule)
    x_0 = denoiser.sample(200_000, seed=1)
    found, error = stratified(Variational(100, LearnedVariance(), Continuous()), denoiser, x_0, 2000)
    exact = -denoiser.log_prob(x_0)
    gap, error = found - exact.mean().item(), math.hypot(error, exact.std().item() / math.sqrt(len(x_0)))
    assert -3 * error < gap < 0.03 + 3 * error
    assert error < 0.03


def test_step_term_is_the_kl_of_two_gaussians():
    schedule, t, s = VP(), torch.tensor([0.6, 0.3], dtype=torch.float64), torch.tensor([0.5, 0.1], dtype=torch.float64)
    x_0, mean, x_t = float64(2, 3), float64(2, 3, seed=1), float64(2, 3, seed=2)
    variance = float64(2, 3, seed=3).square() + 0.1
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
    gain = alpha_t / alpha_s * sigma_s**2 / sigma_t**2  # of x_t, by conditioning the forward chain
    beta_tilde = sigma_s**2 - gain**2 * sigma_t**2

    def law(x: Tensor, v: Tensor) -> torch.distributions.Normal:
        centre = (alpha_s - gain * alpha_t)[:, None] * x + gain[:, None] * x_t
        return torch.distributions.Normal(centre, v.sqrt())

    kl = torch.distributions.kl_divergence(law(x_0, beta_tilde[:, None].expand(2, 3)), law(mean, variance)).sum(1)
    torch.testing.assert_close(step_term(schedule, x_0, mean, variance, t, s), kl)


def test_prior_term_is_the_kl_to_a_standard_normal():
    schedule, x_0 = VP(beta_max=2.0), float64(4, 3)
    alpha, sigma = (float(c) for c in schedule(torch.ones(())))
    q = torch.distributions.Normal(alpha * x_0, sigma)
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(prior_term(schedule, x_0), kl, rtol=1e-5, atol=0)


@pytest.mark.parametrize("levels", [17, 256])
@pytest.mark.parametrize("deviation", [1e-3, 0.05, 3.0])
def test_the_decoder_gives_each_bin_its_mass(levels: int, deviation: float):
    values = torch.linspace(-1, 1, levels, dtype=torch.float64)[:, None]
    mean = torch.full_like(values, 0.3)
    log_p = Discretised(levels)(values, mean, torch.full_like(values, deviation**2))
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)
    edges = [-math.inf, *(values[1:, 0] - 1 / (levels - 1)).tolist(), math.inf]
    mass = torch.tensor(
        [stats.norm.cdf(b, 0.3, deviation) - stats.norm.cdf(a, 0.3, deviation) for a, b in pairwise(edges)]
    )
    torch.testing.assert_close(log_p.exp()[:, 0], mass, rtol=1e-6, atol=1e-12)


def test_the_decoder_has_finite_gradients_far_away():
    mean = torch.tensor([[-1.0, -0.2, 0.9, 1.0]], dtype=torch.float64, requires_grad=True)
    x_0 = torch.tensor([[1.0, 0.5, -1.0, 0.0]], dtype=torch.float64)
    log_p = Discretised(17)(x_0, mean, torch.full_like(x_0, 1e-6))
    (gradient,) = torch.autograd.grad(log_p.sum(), mean)
    assert bool(log_p.isfinite().all() & gradient.isfinite().all())
    # the distance to the nearer edge of the bin, over the variance
    nearer = x_0 - mean.detach() - (x_0 - mean.detach()).sign() / 16
    torch.testing.assert_close(gradient, nearer / 1e-6, rtol=1e-3, atol=0)


def learner(schedule: DiscreteVP) -> NetworkDenoiser:
    torch.manual_seed(0)
    network = MLP(2, width=16, depth=1, outputs=4)
    nn.init.normal_(network.head.weight, std=0.1)
    return NetworkDenoiser(network, schedule, EPS, Interpolated(schedule.steps))


def test_the_hybrid_teaches_the_mean_by_the_simple_loss_alone():
    schedule = DiscreteVP.linear(20)
    x_0, positions = float64(32, 2).float().clamp(-1, 1), torch.arange(32)

    def gradient(objective) -> Tensor:
        denoiser = learner(schedule)
        objective(denoiser, x_0, seed=0, positions=positions).mean().backward()
        return denoiser.network.head.weight.grad

    both = gradient(Hybrid(20, scale=0.1))
    simple = gradient(DenoisingScoreMatching(EpsWeighting(), DiscreteTime(20)))
    bound = gradient(Variational(20, LearnedVariance()))
    torch.testing.assert_close(both[:2], simple[:2])  # rows that make the mean
    torch.testing.assert_close(both[2:], 0.1 * bound[2:])  # rows that make v
    assert bool((bound[:2] != 0).any())
    assert not simple[2:].any()


def test_the_value_of_the_hybrid_is_the_sum():
    denoiser, x_0, positions = learner(DiscreteVP.linear(20)), float64(8, 2).float().clamp(-1, 1), torch.arange(8)
    simple = DenoisingScoreMatching(EpsWeighting(), DiscreteTime(20))
    parts = [o(denoiser, x_0, seed=0, positions=positions) for o in (simple, Variational(20, LearnedVariance()))]
    both = Hybrid(20)(denoiser, x_0, seed=0, positions=positions)
    torch.testing.assert_close(both, parts[0] + 0.001 * parts[1])


def test_a_learned_variance_needs_a_denoiser_that_says_one():
    with pytest.raises(ValueError, match="Interpolated"):
        LearnedVariance()(Posterior(torch.zeros(1, 1)), VP(), torch.ones(1))


@pytest.mark.parametrize("objective", [Variational(10), Hybrid(10)])
def test_objectives_can_be_pickled(objective):
    schedule = DiscreteVP.linear(10)
    x_0, positions = float64(4, 2).float().clamp(-1, 1), torch.arange(4)
    again = pickle.loads(pickle.dumps(objective))
    losses = [o(learner(schedule), x_0, seed=0, positions=positions) for o in (objective, again)]
    torch.testing.assert_close(losses[0], losses[1])
