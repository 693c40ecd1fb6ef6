import math

import pytest
import torch

from diffusion_lit.metrics.sliced import sliced_wasserstein
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
