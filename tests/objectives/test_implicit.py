"""Implicit and sliced score matching against linear scores, where all is a closed form, and against denoising."""

import math
import pickle

import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.denoise import EPS, NetworkDenoiser
from diffusion_lit.divergence import Exact, GaussianProbe, Hutchinson, Rademacher, Sphere
from diffusion_lit.networks.mlp import MLP
from diffusion_lit.noise import VP
from diffusion_lit.objectives import (
    DenoisingScoreMatching,
    FixedTime,
    ImplicitScoreMatching,
    SlicedScoreMatching,
    UniformTime,
    VWeighting,
)
from diffusion_lit.objectives.implicit import hyvarinen, sliced
from diffusion_lit.randomness import Randomness


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return Randomness(seed, torch.arange(n)).normal(d, dtype=torch.float64)


MIXING = torch.tensor([[1.0, 0.2, 0, 0], [0, 0.7, -0.3, 0.1], [0.4, 0, 1.5, 0], [0, 0.5, 0, 0.6]], dtype=torch.float64)
DATA = normal(500, 4) @ MIXING.mT + torch.tensor([1.0, -2.0, 0.0, 0.5], dtype=torch.float64)
MEAN, COVARIANCE = DATA.mean(0), torch.cov(DATA.mT, correction=0)
PRECISION = COVARIANCE.inverse()


def test_a_linear_score_has_the_loss_by_hand():
    precision, mean = torch.diag(torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)) + 0.1, torch.zeros(4).double()
    loss = hyvarinen(lambda x: -(x - mean) @ precision, DATA, Exact()).mean()
    by_hand = ((DATA - mean) @ precision).square().sum(1).mean() / 2 - precision.trace()
    assert loss.item() == pytest.approx(by_hand.item(), abs=1e-9)


def test_the_least_loss_is_at_the_precision_of_the_sample():
    mean, precision = MEAN.clone().requires_grad_(), PRECISION.clone().requires_grad_()
    loss = hyvarinen(lambda x: -(x - mean) @ precision, DATA, Exact()).mean()
    assert loss.item() == pytest.approx(-PRECISION.trace().item() / 2, abs=1e-9)
    for gradient in torch.autograd.grad(loss, (mean, precision)):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-9)


@pytest.mark.parametrize("law", [Rademacher(), GaussianProbe(), Sphere()])
def test_slices_average_to_the_whole(law):
    """And the reduced ones vary less -- with directions of one length.

    It is no theorem: v^T ds/dx v and (v^T s)^2 / 2 have opposite signs, and with Gaussian v, whose length varies in
    both, the plain ones vary less for this precision.
    """
    n, repeats = 100_000, 200
    x = DATA.repeat(repeats, 1)

    def score(x: Tensor) -> Tensor:
        return -(x - MEAN) @ PRECISION

    exact = hyvarinen(score, DATA, Exact()).repeat(repeats)
    with torch.no_grad():
        plain = sliced(score, x, Hutchinson(law), Randomness(1, torch.arange(n))) - exact
        reduced = hyvarinen(score, x, Hutchinson(law), Randomness(1, torch.arange(n))) - exact
    for error in (plain, reduced):  # three standard errors
        assert abs(error.mean().item()) < 3 * error.std().item() / math.sqrt(n)
    assert (reduced.var() < plain.var()) == (law != GaussianProbe())


def test_signs_have_no_variance_on_a_diagonal_precision():
    diagonal = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    noise = Randomness(2, torch.arange(500))
    reduced = hyvarinen(lambda x: -x * diagonal, DATA, Hutchinson(), noise)
    torch.testing.assert_close(reduced, hyvarinen(lambda x: -x * diagonal, DATA, Exact()))


OBJECTIVES = {
    "exact": ImplicitScoreMatching,
    "sliced": lambda **options: SlicedScoreMatching(Hutchinson(projections=2), **options),
    "reduced": lambda **options: ImplicitScoreMatching(Hutchinson(GaussianProbe()), **options),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_it_is_denoising_score_matching_less_a_constant(name: str):
    """At any score: here that of N(0, 1) for data of another variance."""
    n, t = 40_000, 0.4
    alpha, sigma = (float(c) for c in VP()(torch.tensor(t, dtype=torch.float64)))
    denoiser = GaussianDenoiser(torch.zeros(2), torch.tensor(1.0), VP())
    x_0, options = 0.5 * normal(n, 2, seed=9), {"weighting": VWeighting(), "times": FixedTime(t)}
    places = {"seed": 0, "positions": torch.arange(n)}
    with torch.no_grad():
        difference = DenoisingScoreMatching(**options)(denoiser, x_0, **places) - OBJECTIVES[name](**options)(
            denoiser, x_0, **places
        )
    expected = sigma**2 / alpha**2 * ((alpha / sigma) ** 2 + 1)
    assert abs(difference.mean().item() - expected) < 3 * difference.std().item() / math.sqrt(n)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_networks_train_on_it(name: str):
    torch.manual_seed(0)
    network = MLP(2, width=16, depth=1)
    torch.nn.init.normal_(network.head.weight, std=0.1)
    denoiser, objective = NetworkDenoiser(network, VP(), EPS), OBJECTIVES[name](times=UniformTime(0.1))
    x_0, positions = normal(16, 2).float(), torch.arange(16)
    loss = objective(denoiser, x_0, seed=0, positions=positions)
    assert loss.shape == (16,)
    loss.mean().backward()
    gradients = [p.grad for p in denoiser.parameters()]
    assert all(g is not None and bool(g.isfinite().all()) for g in gradients)
    part = objective(denoiser, x_0[3:7], seed=0, positions=positions[3:7])
    torch.testing.assert_close(part, loss[3:7])
    again = pickle.loads(pickle.dumps(objective))(denoiser, x_0, seed=0, positions=positions)
    torch.testing.assert_close(again, loss)


def test_it_learns_the_variance():
    """Gradient descent on the slope of s = -k x finds one over the variance."""
    n = 4000
    x = 0.5 * normal(n, 2)
    k = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([k], lr=0.5)
    for _ in range(60):
        loss = sliced(lambda x: -k * x, x, Hutchinson(), Randomness(0, torch.arange(n))).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # k = 2 / mean (v . x)^2, of n squared normals: a standard error of sqrt(2 / n)
    assert k.item() == pytest.approx(4, rel=3 * math.sqrt(2 / n))
