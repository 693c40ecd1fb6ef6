import math

import pytest
import torch
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.randomness import Randomness
from diffusion_lit.tweedie import Lindsey, NaturalSpline, Polynomial


def normal(n: int, seed: int = 0) -> Tensor:
    return Randomness(seed, torch.arange(n)).normal(1, dtype=torch.float64)[:, 0]


@pytest.mark.parametrize("basis", [Polynomial(2), Polynomial(5), NaturalSpline(5)])
def test_regression_is_at_its_maximum(basis: Polynomial | NaturalSpline):
    """The score equations: the fit has the counts' own sums over every function of the basis."""
    sample, bins = normal(2000), 40
    fit = Lindsey(sample, basis, bins)
    counts, edges = torch.histogram(sample, bins=bins)
    centres = (edges[1:] + edges[:-1]) / 2
    design = basis((centres - sample.min()) / (sample.max() - sample.min()))
    fitted = fit.log_density(centres).exp() * len(sample) * (edges[1] - edges[0])
    torch.testing.assert_close(design.mT @ fitted, design.mT @ counts, rtol=1e-6, atol=1e-6)
    assert fitted.sum().item() == pytest.approx(2000)


def test_a_normal_sample_gives_a_normal_density():
    """log phi is in the span of a parabola, so only the sampling error of mean and variance is left."""
    n = 200_000
    fit, z = Lindsey(2 + 0.5 * normal(n), Polynomial(2), bins=200), torch.linspace(0.5, 3.5, 13, dtype=torch.float64)
    u = (z - 2) / 0.5
    # delta method: l = -u^2/2 moves by u dm / s and by (u^2 - 1) dv / (2 v), with SE 1/sqrt(n) and sqrt(2/n); 3 SE,
    # and the width of a bin, which widens the variance by width^2 / 12
    widening = ((fit.high - fit.low) / 200) ** 2 / 12 / 0.25
    bound = 3 * (u.abs() + (u**2 - 1).abs() / 2**0.5) / n**0.5 + (u**2 - 1).abs() * widening / 2 + 1e-9
    error = fit.log_density(z) - (-(u**2) / 2 - math.log(0.5 * (2 * math.pi) ** 0.5))
    assert bool((error.abs() <= bound).all()), (error / bound).tolist()
    slope_bound = (3 * (1 + u.abs() * 2**0.5) / n**0.5 + u.abs() * widening) / 0.5
    assert bool(((fit.score(z) + u / 0.5).abs() <= slope_bound).all())


def test_natural_splines_are_straight_beyond_the_ends_and_smooth_within():
    basis = NaturalSpline(4)
    assert torch.linalg.matrix_rank(basis(torch.linspace(0, 1, 50, dtype=torch.float64))) == 5
    for outside in (torch.tensor([-3.0, -2.0, -1.0]), torch.tensor([2.0, 3.0, 4.0])):
        rows = basis(outside.double())
        torch.testing.assert_close(rows[2] - rows[1], rows[1] - rows[0], rtol=1e-9, atol=1e-9)
    inside = basis(torch.tensor([0.2, 0.45, 0.7], dtype=torch.float64))
    assert float((inside[2] - 2 * inside[1] + inside[0]).abs().max()) > 0.01


def test_bad_samples_are_told():
    with pytest.raises(UserError, match="finite, differing"):
        Lindsey(torch.ones(10))
    with pytest.raises(UserError, match="finite, differing"):
        Lindsey(torch.tensor([0.0, 1.0, math.inf]))
    with pytest.raises(UserError, match="bins: 5 for 5"):
        Lindsey(normal(10), Polynomial(5), bins=5)
