"""Ranks are uniform for exact posteriors, and the test sees samples that are too narrow, too wide or biased."""

import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.metrics.ranks import rank_histogram, ranks, uniformity
from diffusion_lit.randomness import Randomness

DRAWS = 19


def conjugate(scale: float, shift: float, seed: int = 0, count: int = 2000) -> torch.Tensor:
    """x ~ N(0, 1), y = x + n: p(x | y) = N(y / 2, 1 / 2), of which samples of another width and place are drawn."""
    z = Randomness(seed, torch.arange(count)).normal(DRAWS + 2, dtype=torch.float64)
    truth, y = z[:, 0], z[:, 0] + z[:, 1]
    samples = y[:, None] / 2 + shift + scale * z[:, 2:] / 2**0.5
    return ranks(samples, truth)


def test_the_exact_posterior_is_uniform_over_repetitions():
    p = torch.tensor([uniformity(conjugate(1.0, 0.0, seed), DRAWS) for seed in range(100)])
    # uniform p-values: their mean is 1/2 with a standard error of .029
    assert p.mean().item() == pytest.approx(0.5, abs=4 * 0.029)
    assert 0 <= int((p < 0.05).sum()) <= 14  # binomial(100, .05): above 14 has probability 1e-4


@pytest.mark.parametrize(("scale", "shift"), [(0.7, 0.0), (1.4, 0.0), (1.0, 0.15)])
def test_a_wrong_posterior_is_seen(scale, shift):
    assert uniformity(conjugate(scale, shift), DRAWS) < 1e-4


def test_the_shape_says_what_is_wrong():
    narrow = rank_histogram(conjugate(0.7, 0.0), DRAWS, 5)
    assert narrow[0] > 1.3 * narrow[2] < narrow[4]
    low = rank_histogram(conjugate(1.0, 0.3), DRAWS, 5)
    assert low[0] > 1.3 * low[4]


def test_ranks_count_what_is_below_and_ties_are_tossed():
    samples = torch.tensor([[[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]]])
    assert ranks(samples, torch.tensor([[2.5, 0.0]])).tolist() == [[2, 0]]
    tied = ranks(torch.zeros(4000, 3), torch.zeros(4000))
    assert torch.bincount(tied).tolist() == pytest.approx([1000] * 4, abs=4 * (4000 * 3 / 16) ** 0.5)


def test_bins_divide_the_ranks():
    assert rank_histogram(torch.tensor([0, 3, 4, 7]), 7, 2).tolist() == [2, 2]
    with pytest.raises(UserError, match="bins: 3 does not divide 20"):
        rank_histogram(torch.tensor([0]), DRAWS, 3)
