"""Exact posterior samples have the nominal coverage in expectation, for any number of them; wrong ones do not."""

import math

import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.metrics.coverage import hpd_coverage, interval_coverage
from diffusion_lit.randomness import Randomness

B = 4000


def gaussians(draws: int, width: float, size: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Truths N(0, I) and samples N(0, width^2 I) for each."""
    x = Randomness(1, torch.arange(B)).normal(draws + 1, size, dtype=torch.float64)
    return width * x[:, 1:], x[:, 0]


def log_density(x: torch.Tensor) -> torch.Tensor:
    return -x.square().sum(-1) / 2


@pytest.mark.parametrize("draws", [1, 4, 19, 30])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_exact_samples_have_the_nominal_coverage(draws, level):
    samples, truth = gaussians(draws, 1.0)
    for found in (
        hpd_coverage(log_density(samples), log_density(truth), level),
        interval_coverage(samples, truth, level),
    ):
        assert found.value == pytest.approx(level, abs=4 * found.standard_error + 1e-9)


def test_the_expectation_is_exact_for_every_rank():
    """The truth at each of its K + 1 ranks in turn: the mean is the level to rounding."""
    for draws in (1, 2, 7):
        points = torch.arange(draws + 1, dtype=torch.float64)
        samples = torch.stack([points[points != i] for i in range(draws + 1)])
        for level in (0.1, 0.5, 0.9, 0.99):
            assert interval_coverage(samples, points, level).value == pytest.approx(level, rel=1e-12)
            assert hpd_coverage(samples, points, level).value == pytest.approx(level, rel=1e-12)


def test_ties_share_their_ranks():
    assert hpd_coverage(torch.zeros(5, 9), torch.zeros(5), 0.9).value == pytest.approx(0.9)
    assert interval_coverage(torch.zeros(5, 9, 2), torch.zeros(5, 2), 0.8).value == pytest.approx(0.8)


def test_the_wrong_width_is_seen():
    samples, truth = gaussians(39, 0.7)
    # a truth is inside the 5 % and 95 % quantiles of N(0, .49) with probability erf(.7 * 1.645 / sqrt 2) = .750; those
    # of 39 samples are the quantiles but for a bias below .01
    found = interval_coverage(samples, truth, 0.9)
    assert found.value == pytest.approx(math.erf(0.7 * 1.6449 / math.sqrt(2)), abs=0.01 + 4 * found.standard_error)
    assert hpd_coverage(log_density(samples), log_density(truth)).value < 0.75
    wide, truth = gaussians(39, 1.4)
    assert hpd_coverage(log_density(wide), log_density(truth)).value > 0.97


def test_a_level_is_a_probability():
    with pytest.raises(UserError, match=r"level: 90\.0"):
        hpd_coverage(torch.zeros(2, 3), torch.zeros(2), 90.0)
