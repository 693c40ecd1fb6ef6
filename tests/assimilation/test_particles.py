"""The particle filter on a linear-Gaussian chain, where the posterior and the evidence are known."""

import math

import pytest
import torch

from diffusion_lit.assimilation import BootstrapFilter, LinearChain
from diffusion_lit.assimilation.particles import systematic
from diffusion_lit.errors import UserError
from diffusion_lit.randomness import Randomness

CHAIN = LinearChain(
    0.95 * torch.tensor([[math.cos(0.5), -math.sin(0.5)], [math.sin(0.5), math.cos(0.5)]], dtype=torch.float64),
    torch.tensor([0.4, 0.6], dtype=torch.float64),
)
LENGTH, SIGMA = 10, 0.5
TIMES = range(1, LENGTH, 3)  # the first coordinate is seen; the last state has no observation
NOISE = Randomness(4, torch.arange(1))
TRUTH = CHAIN.simulate(CHAIN.start(NOISE), LENGTH, NOISE)[0]
Y = {i: float(TRUTH[i, 0] + SIGMA * NOISE.normal(1, dtype=torch.float64)[0, 0]) for i in TIMES}


def seen(i):
    return lambda x: -(((Y[i] - x[:, 0]) / SIGMA) ** 2) / 2 - math.log(SIGMA * math.sqrt(2 * math.pi))


OBSERVED = {i: seen(i) for i in TIMES}


@pytest.fixture(scope="module")
def exact():
    """Mean, covariance and log evidence; the Kalman smoother does in steps what is done here at once."""
    covariance = CHAIN.covariance(LENGTH)
    rows = torch.tensor([2 * i for i in TIMES])
    y = torch.tensor(list(Y.values()), dtype=torch.float64)
    innovation = covariance[rows][:, rows] + SIGMA**2 * torch.eye(len(y), dtype=torch.float64)
    gain = covariance[:, rows] @ torch.linalg.inv(innovation)
    evidence = torch.distributions.MultivariateNormal(torch.zeros_like(y), innovation).log_prob(y)
    return gain @ y, covariance - gain @ covariance[rows], evidence


@pytest.fixture(scope="module")
def runs():
    return [BootstrapFilter(CHAIN, 1000)(OBSERVED, LENGTH, seed=seed) for seed in range(30)]


def within(estimates, truth):
    """Every entry's mean over runs within four standard errors."""
    estimates = torch.stack(estimates)
    error = estimates.std(0) / math.sqrt(len(estimates))
    assert ((estimates.mean(0) - truth).abs() < 4 * error).all()
    return error


@pytest.mark.parametrize("how", ["inherited", "smoothed"])
def test_trajectories_have_the_exact_mean_and_covariance(how, exact, runs):
    mean, covariance, _ = exact
    x = [getattr(run, how)(500, seed=0).flatten(1) for run in runs]
    error = within([v.mean(0) for v in x], mean)
    assert error.max() < 0.05  # so that the test says something
    within([(v - mean).mT @ (v - mean) / len(v) for v in x], covariance)


def test_the_evidence_is_unbiased(exact, runs):
    error = within([(run.log_evidence - exact[2]).exp()[None] for run in runs], 1.0)
    assert error < 0.05


def test_inherited_paths_share_their_early_states_and_smoothed_ones_do_not():
    observed = {i: lambda x: -x[:, 0].square() / 2 for i in range(100)}
    run = BootstrapFilter(CHAIN, 300)(observed, 100, seed=0)
    first = {how: len(getattr(run, how)(200, seed=0)[:, 0].unique(dim=0)) for how in ("inherited", "smoothed")}
    assert first["smoothed"] > 3 * first["inherited"], first


def test_everything_is_named_by_the_seed():
    def draw(seed):
        return BootstrapFilter(CHAIN, 100)(OBSERVED, LENGTH, seed=seed).smoothed(5, seed=seed)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    run = BootstrapFilter(CHAIN, 100)(OBSERVED, LENGTH, seed=0)
    assert torch.equal(run.smoothed(5, seed=0, chunk=2), run.smoothed(5, seed=0))


def test_systematic_resampling_takes_each_as_often_as_its_weight_says():
    weights = Randomness(0, torch.arange(1)).uniform(50)[0]
    weights = weights / weights.sum()
    for u in (0.01, 0.5, 0.99):
        counts = systematic(weights, torch.tensor(u, dtype=torch.float64)).bincount(minlength=50)
        assert ((counts - 50 * weights).abs() < 1).all()


def test_bad_input():
    with pytest.raises(UserError, match="particles: 0 < 1"):
        BootstrapFilter(CHAIN, 0)
    bootstrap = BootstrapFilter(CHAIN, 10)
    with pytest.raises(UserError, match=r"time 12 is not one of 0 .. 9"):
        bootstrap({12: seen(1)}, LENGTH, seed=0)
    with pytest.raises(UserError, match="no particle explains time 2"):
        bootstrap({2: lambda x: torch.full((len(x),), -math.inf, dtype=torch.float64)}, LENGTH, seed=0)
