"""The classifier tosses a coin where the laws are equal and nears Bayes' accuracy where they differ."""

import math

import pytest
import torch

from diffusion_lit.metrics.c2st import c2st
from diffusion_lit.randomness import Randomness


def normal(count: int, seed: int) -> torch.Tensor:
    return Randomness(seed, torch.arange(count)).normal(2, dtype=torch.float64)


def test_equal_laws_cannot_be_told_apart():
    found = c2st(normal(300, 1), normal(300, 2))
    assert found.standard_error == pytest.approx(0.5 / 600**0.5, rel=0.01)
    assert found.value == pytest.approx(0.5, abs=4 * found.standard_error)


def test_a_shift_is_seen_as_well_as_bayes_would():
    # N(0, I) against N(2 e_1, I): the best accuracy is Phi(1) = .841, in any units
    x, y = normal(300, 1), normal(300, 2) + torch.tensor([2.0, 0.0])
    found = c2st(100 * x, 100 * y)
    best = (1 + math.erf(1 / math.sqrt(2))) / 2
    assert best - 0.05 - 3 * found.standard_error < found.value < best + 4 * found.standard_error


def test_a_width_is_seen_that_no_mean_shows():
    assert c2st(normal(300, 1), 3 * normal(300, 2)).value > 0.7  # Bayes: .81


def test_a_constant_coordinate_does_no_harm_and_too_few_points_are_refused():
    same = torch.cat((normal(20, 1), torch.ones(20, 1)), 1)
    assert math.isfinite(c2st(same, same + 1).value)
    with pytest.raises(ValueError, match="x 4 and y 20"):
        c2st(normal(4, 1), normal(20, 2))
