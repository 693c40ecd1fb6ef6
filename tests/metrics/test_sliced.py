import math

import pytest
import torch

from diffusion_lit.metrics.sliced import max_sliced_wasserstein, sliced_wasserstein
from diffusion_lit.randomness import Randomness

X = Randomness(0, torch.arange(500)).normal(3, dtype=torch.float64)


def test_a_shift_is_seen_from_every_side():
    shift = torch.tensor([3.0, 0.0, 4.0], dtype=torch.float64)
    # E (theta^T v)^2 = |v|^2 / d; over 20,000 directions its relative standard error is sqrt(4/5) / sqrt(20000) = .0063
    found = sliced_wasserstein(X, X + shift, directions=20_000)
    assert found == pytest.approx(5 / math.sqrt(3), rel=3 * 0.0063 / 2)


def test_a_scale_in_one_dimension_is_exact():
    x = X[:, :1]
    assert sliced_wasserstein(x, 2 * x) == pytest.approx(x.square().mean().sqrt().item(), rel=1e-12)
    assert sliced_wasserstein(x, 2 * x, order=1) == pytest.approx(x.abs().mean().item(), rel=1e-12)


def test_the_order_of_points_does_not_count():
    assert sliced_wasserstein(X, X.flip(0)) == pytest.approx(0, abs=1e-12)


def test_shapes_must_fit():
    with pytest.raises(ValueError, match=r"x \(500, 3\), y \(500, 2\)"):
        sliced_wasserstein(X, X[:, :2])


def test_the_largest_direction_of_a_shift_is_the_shift():
    shift = torch.tensor([3.0, 0.0, 4.0], dtype=torch.float64)
    tried = max_sliced_wasserstein(X, X + shift, directions=64)
    climbed = max_sliced_wasserstein(X, X + shift, directions=64, ascent=60)
    assert 4 < tried < climbed
    assert climbed == pytest.approx(5, rel=1e-4)
    assert max_sliced_wasserstein(X, X + shift, order=1, directions=64, ascent=60) == pytest.approx(5, rel=1e-3)


def test_ascent_finds_one_axis_of_many_that_random_directions_miss():
    x = Randomness(0, torch.arange(400)).normal(32, dtype=torch.float64)
    y = x.clone()
    y[:, 7] *= 3  # W2 along e_7 is 2 |x_7|; another theta sees it to the power of theta_7
    axis = 2 * x[:, 7].square().mean().sqrt().item()
    assert max_sliced_wasserstein(x, y, directions=100) < 0.7 * axis
    assert max_sliced_wasserstein(x, y, directions=100, ascent=100) == pytest.approx(axis, rel=0.03)
    assert max_sliced_wasserstein(x, x.flip(0), directions=100, ascent=5) == pytest.approx(0, abs=1e-12)
