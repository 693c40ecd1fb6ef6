"""Weights of guided paths: the evidence, and what they mend, on a mixture whose posterior is known."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianMixtureDenoiser
from diffusion_lit.denoise import Posterior
from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, LaplaceNoise, LinearOperator, Measurement, Noise, PoissonNoise, methods
from diffusion_lit.inverse.guidance import MMPS, PiGDM
from diffusion_lit.inverse.posterior import PathMetropolis, PathResampling
from diffusion_lit.inverse.posterior.closing import log_constant, ratio_squared
from diffusion_lit.inverse.posterior.paths import GuidedChain
from diffusion_lit.inverse.posterior.resampled import systematic
from diffusion_lit.noise import VP
from diffusion_lit.randomness import Randomness
from diffusion_lit.reverse import bridge
from diffusion_lit.samplers import DDIM
from tests.inverse.problems import gaussian_problem, whitened


def two_modes(y: float = 0.2) -> tuple[GaussianMixtureDenoiser, Measurement]:
    """Modes of other widths on either side of a measured plane: MMPS gives them the wrong shares."""
    means = torch.tensor([[-5.0, 0.0], [5.0, 1.5]], dtype=torch.float64)
    covariances = torch.stack((torch.eye(2), torch.diag(torch.tensor([1.0, 0.09])))).double()
    denoiser = GaussianMixtureDenoiser(torch.tensor([0.4, 0.6]), means, covariances, VP())
    operator = LinearOperator.from_matrix(torch.tensor([[0.0, 1.0]]))
    return denoiser, Measurement(torch.tensor([y], dtype=torch.float64), operator, GaussianNoise(0.3))


def right(x: Tensor) -> float:
    return (x[:, 0] > 0).double().mean().item()


def log_evidence(denoiser: GaussianMixtureDenoiser, measurement: Measurement) -> float:
    """log p(y) of the mixture."""
    matrix = measurement.operator.matrix()
    covariance = denoiser._full_covariances()
    spread = matrix @ covariance @ matrix.mT + measurement.noise.covariance(len(matrix))
    law = torch.distributions.MultivariateNormal(denoiser.means @ matrix.mT, spread)
    return (denoiser.weights.log() + law.log_prob(measurement.y)).logsumexp(0).item()


def test_weights_tell_the_evidence() -> None:
    n, found, exact = 2000, [], []
    for y in (0.2, 1.0):
        denoiser, measurement = two_modes(y)
        _, log_w = GuidedChain(MMPS(60, iterations=1))(denoiser, measurement, Randomness(0, torch.arange(n)))
        w = log_w.exp()
        found.append((w.mean().log().item(), (w.std() / w.mean() / n**0.5).item()))
        exact.append(log_evidence(denoiser, measurement))
    (low, low_error), (high, high_error) = found
    # log w is known up to a constant: the ratio of two evidences, 3 standard errors and 1 % for the chain's step length
    tolerance = 3 * (low_error**2 + high_error**2) ** 0.5 + 0.01
    assert high - low == pytest.approx(exact[1] - exact[0], abs=tolerance)


def by_quadrature(denoiser: GaussianMixtureDenoiser, measurement: Measurement, chain: GuidedChain) -> Tensor:
    """p(y), E[x_0 | y] and p(x_0 > 0 | y) under the prior's own chain in one dimension, its densities on a lattice."""
    schedule, sampler = denoiser.schedule, chain.sampler
    times, x = sampler.grid(schedule, sampler.steps), torch.linspace(-6, 6, 1501, dtype=torch.float64)
    width = x[1] - x[0]
    density = torch.distributions.Normal(0.0, schedule(times[0])[1]).log_prob(x).exp()
    for t, s in pairwise(times[:-1]):
        posterior = Posterior(denoiser(x[:, None], t).mean)
        of_x_t, of_x_0, _ = bridge(schedule, t, s)
        deviation = sampler.variance(schedule, posterior, t, s).sqrt()
        mean = of_x_t * x + of_x_0 * posterior.mean[:, 0]
        density = width * density @ torch.distributions.Normal(mean[:, None], deviation).log_prob(x).exp()
    nodes, weights = (torch.from_numpy(v) for v in np.polynomial.hermite_e.hermegauss(40))
    x_0 = denoiser(x[:, None], times[-2]).mean + ratio_squared(schedule, times[-2]).sqrt() * nodes
    likelihood = measurement.log_likelihood(x_0.reshape(-1, 1)).exp().reshape(x_0.shape)
    joint = width * density[:, None] * likelihood * weights / weights.sum()
    evidence = joint.sum()
    return torch.stack((evidence, (joint * x_0).sum() / evidence, (joint * (x_0 > 0)).sum() / evidence))


@pytest.mark.parametrize(
    ("noise", "y"), [(LaplaceNoise(0.5), -0.2), (PoissonNoise(2.0, offset=3.0), -0.5), (GaussianNoise(0.7), -0.2)]
)
def test_weights_are_those_of_the_noise_itself(noise: Noise, y: float) -> None:
    """Twelve long steps, of which the weights must know everything; no more than Monte Carlo's own error is allowed."""
    means, variances = torch.tensor([[-1.5], [1.0]]).double(), torch.tensor([0.3, 0.1]).double()
    denoiser = GaussianMixtureDenoiser(torch.tensor([0.4, 0.6]), means, variances, VP())
    measurement = Measurement(torch.tensor([y]).double(), LinearOperator.from_matrix(torch.eye(1)), noise)
    chain, n = GuidedChain(MMPS(12, iterations=1)), 20_000
    exact = by_quadrature(denoiser, measurement, chain)
    with torch.no_grad():
        x, log_w = chain(denoiser, measurement, Randomness(0, torch.arange(n)))
    last = chain.sampler.grid(denoiser.schedule, 12)[-2]
    w = (log_w + log_constant(measurement, ratio_squared(denoiser.schedule, last))).exp()
    of_each = torch.stack((torch.ones_like(x), x, x > 0))[..., 0]
    found = torch.cat((w.mean()[None], (w * of_each[1:]).sum(1) / w.sum()))
    # the deviations of a mean and of two ratios of means
    away = w * (of_each - torch.cat((torch.zeros(1), found[1:]))[:, None])
    error = (away / torch.cat((torch.ones(1), w.mean().expand(2)))[:, None]).std(1) / n**0.5
    assert bool((error < torch.tensor([0.02, 0.02, 0.01]) * torch.cat((exact[:1], torch.ones(2)))).all())
    assert bool(((found - exact).abs() < 3 * error).all())
    if not isinstance(noise, GaussianNoise):  # the Gaussian in its place has another posterior
        sigma = 1 / noise.gaussian(measurement.values[None]).whiten(torch.ones(1, 1)).item()
        in_place = Measurement(measurement.y, measurement.linear, GaussianNoise(sigma))
        assert bool(((by_quadrature(denoiser, in_place, chain) - exact).abs() > 6 * error)[1:].any())


def test_the_weights_of_an_exact_guidance_are_nearly_equal() -> None:
    denoiser, measurement = gaussian_problem(1)
    for guidance, least in ((MMPS(100, iterations=2), 0.9), (PiGDM(100), 0.0)):
        _, log_w = GuidedChain(guidance)(denoiser, measurement, Randomness(0, torch.arange(500)))
        w = log_w.softmax(0)
        size = 1 / (500 * w.square().sum().item())
        assert least < size < (1.0 if least else 0.9)


@pytest.mark.parametrize(
    "method", [PathMetropolis(40, 10, MMPS(40, iterations=1)), PathResampling(40, 1000, MMPS(40, iterations=1))]
)
def test_modes_get_their_shares(method) -> None:
    denoiser, measurement = two_modes()
    n = 1000
    posterior = denoiser.posterior(measurement)
    exact = (posterior.weights @ (posterior.means[:, 0] > 0).double()).item()
    guided = right(MMPS(40, iterations=1)(denoiser, measurement, samples=n))
    error = 3 * (exact * (1 - exact) / n) ** 0.5
    assert abs(guided - exact) > 2 * error  # otherwise there is nothing to mend
    found = right(method(denoiser, measurement, samples=n))
    # 3 standard errors, of resampled particles with the effective number of them, about half
    assert abs(found - exact) < 1.5 * error


def test_a_gaussian_posterior_stays_right() -> None:
    denoiser, measurement = gaussian_problem(1)
    x = PathMetropolis(100, 2, MMPS(100, iterations=2))(denoiser, measurement, samples=2000, seed=7)
    assert whitened(x, denoiser.posterior(measurement))[1] < 0.12


def test_a_population_is_whole_whoever_asks() -> None:
    denoiser, measurement = two_modes()
    method = PathResampling(10, particles=8)
    together = method(denoiser, measurement, samples=24, seed=1)
    torch.testing.assert_close(
        method(denoiser, measurement, samples=2, seed=1, ids=torch.tensor([19, 3])), together[[19, 3]]
    )
    # particles of one population may be the same path, those of two are not
    assert len(torch.unique(together[:8], dim=0)) <= 8
    assert not (together[:8, None] == together[None, 8:16]).all(-1).any()


def test_systematic_resampling_takes_each_its_share() -> None:
    w = torch.tensor([[0.1, 0.45, 0.0, 0.45], [0.25, 0.25, 0.25, 0.25]], dtype=torch.float64)
    taken = systematic(w.log(), torch.tensor([0.3, 0.999], dtype=torch.float64))
    assert taken[1].tolist() == [0, 1, 2, 3]
    for u in torch.linspace(0.01, 0.99, 7, dtype=torch.float64):
        counts = systematic(w[:1].log(), u[None])[0].bincount(minlength=4).double()
        assert bool(((counts - 4 * w[0]).abs() < 1).all())


def test_mistakes_are_told() -> None:
    with pytest.raises(UserError, match="DDIM"):
        PathMetropolis(guidance=MMPS(sampler=DDIM(10)))
    with pytest.raises(UserError, match="proposals: 0"):
        methods["path_metropolis"](proposals=0)
    with pytest.raises(UserError, match="particles: 1"):
        methods["path_resampling"](particles=1)
