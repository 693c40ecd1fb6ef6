"""Laws against their densities, the denoiser against quadrature, the Gibbs sampler against a sum over all paths."""

from itertools import product

import pytest
import torch

from diffusion_lit.levy import (
    JumpDenoiser,
    Levy,
    ScaleMixture,
    bernoulli_laplace,
    gaussian,
    laplace,
    posterior_of_jumps,
    student_t,
)
from diffusion_lit.noise import VP
from diffusion_lit.randomness import Randomness

F64 = torch.float64
LAWS = [gaussian, laplace, student_t, bernoulli_laplace]


@pytest.mark.parametrize(
    ("law", "exact", "variance"),
    [
        (laplace(1.0), torch.distributions.Laplace(torch.zeros((), dtype=F64), torch.ones((), dtype=F64)), 2.0),
        (student_t(3.0), torch.distributions.StudentT(torch.tensor(3.0, dtype=F64)), 3.0),
    ],
)
def test_scale_mixtures_are_the_laws_they_stand_for(law, exact, variance):
    u = torch.linspace(-8, 8, 100, dtype=F64)  # not near 0, where the Laplace law has an edge
    torch.testing.assert_close(law.log_prob(u), exact.log_prob(u), atol=1e-4, rtol=0.0)
    assert law.variance == pytest.approx(variance, rel=5e-3)  # t: what lies beyond the last node is missing


def test_spikes_jump_as_often_as_told():
    law = bernoulli_laplace(0.1, 1.0, spike=0.02)
    assert law.variance == pytest.approx(0.1 * 2 + 0.9 * 0.02**2, rel=1e-4)
    u = law.draw(Randomness(0, torch.arange(200)), 200)
    # |u| > .1: e^-.1 of the jumps and nothing of the spike; 40,000 draws
    expected = 0.1 * 0.9048
    assert float((u.abs() > 0.1).double().mean()) == pytest.approx(expected, abs=4 * (expected / 40_000) ** 0.5)


@pytest.mark.parametrize("law", LAWS)
def test_signals_have_unit_variance_in_the_mean_and_a_density(law):
    toy = Levy(law(), 16)
    assert float((toy.matrix @ toy.matrix.mT).diag().mean()) == pytest.approx(1)
    x = toy.draw(Randomness(1, torch.arange(5)))
    torch.testing.assert_close(toy.jumps(x) @ toy.matrix.mT, x)
    torch.testing.assert_close(
        toy.log_prob(x), toy.law.log_prob(toy.jumps(x)).sum(1) - torch.linalg.slogdet(toy.matrix)[1]
    )


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("t", [0.2, 0.7])
def test_the_denoiser_is_the_posterior_mean_and_variance(law, t):
    law = law().unit()
    denoiser, time = JumpDenoiser(law, 3, VP()), torch.tensor(t, dtype=F64)
    alpha, sigma = denoiser.schedule(time)
    x_t = torch.tensor([[-1.0, 0.1, 2.0]], dtype=F64)
    z = torch.linspace(-12, 12, 20_001, dtype=F64)
    u = 0.01 * z.sinh()  # wide for the tails of t, fine for the spike
    weight = (law.log_prob(u) + z.cosh().log() - (x_t[0][:, None] - alpha * u).square() / (2 * sigma**2)).softmax(1)
    mean = (weight * u).sum(1)
    found = denoiser(x_t, time)
    assert found.variance is not None
    torch.testing.assert_close(found.mean[0], mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.variance[0], (weight * u**2).sum(1) - mean**2, atol=1e-5, rtol=1e-5)


def test_gibbs_finds_the_posterior_of_a_spike_and_slab_law():
    """Three jumps of two scales have eight Gaussian posteriors, which can be summed."""
    law = ScaleMixture(torch.tensor([0.6, 0.4]), torch.tensor([0.01, 1.0]))
    h = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 1, 2]], dtype=F64)
    y, sigma = torch.tensor([0.5, 0.3, 1.2, 0.9], dtype=F64), 0.3
    total, mean, second = torch.zeros((), dtype=F64), torch.zeros(3, dtype=F64), torch.zeros(3, 3, dtype=F64)
    for choice in product(range(2), repeat=3):
        v = law.variances[list(choice)]
        s = sigma**2 * torch.eye(4, dtype=F64) + (h * v) @ h.mT
        evidence = torch.distributions.MultivariateNormal(torch.zeros(4, dtype=F64), s).log_prob(y).exp()
        weight = law.weights[list(choice)].prod() * evidence
        m = v * (h.mT @ torch.linalg.solve(s, y))
        covariance = v.diag() - v[:, None] * (h.mT @ torch.linalg.solve(s, h * v))
        total, mean = total + weight, mean + weight * m
        second = second + weight * (covariance + torch.outer(m, m))
    chains, keep = 60, 40
    found, draws = posterior_of_jumps(law, h, y.repeat(chains, 1), sigma, sweeps=120, burn_in=20, keep=keep, seed=0)
    error = found.std(0) / chains**0.5  # the chains are independent
    assert bool(((found.mean(0) - mean / total).abs() < 4 * error).all())
    assert float(error.max()) < 0.01
    moments = torch.einsum("bki,bkj->bij", draws, draws) / keep
    error = moments.std(0) / chains**0.5
    assert bool(((moments.mean(0) - second / total).abs() < 4 * error).all())


def test_gibbs_on_gaussian_jumps_is_exact_at_once():
    toy = Levy(gaussian(), 8)
    x = toy.draw(Randomness(2, torch.arange(3)))
    found, draws = posterior_of_jumps(toy.law, toy.matrix, x, 0.1, sweeps=2, burn_in=0, keep=2, seed=0)
    gain = torch.linalg.solve(toy.matrix @ toy.matrix.mT + 0.01 * torch.eye(8), toy.matrix).mT
    torch.testing.assert_close(found, x @ gain.mT)
    assert draws.shape == (3, 2, 8)


def test_weights_and_variances_are_positive():
    with pytest.raises(ValueError, match="are > 0"):
        ScaleMixture(torch.ones(2), torch.tensor([0.0, 1.0]))
