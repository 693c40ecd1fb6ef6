"""The log of a mean of weights against the exact evidence of a Gaussian."""

import math

import pytest
import torch

from diffusion_lit.metrics.evidence import evidence_error, log_mean_exp
from diffusion_lit.randomness import Randomness


def test_importance_sampling_finds_the_evidence_of_a_gaussian():
    """x ~ N(0, 1), y = x + .5 n = .7: w = N(y; x, .25), E w = N(.7; 0, 1.25)."""
    x = Randomness(0, torch.arange(4000)).normal(dtype=torch.float64)
    log_w = torch.distributions.Normal(x, 0.5).log_prob(torch.tensor(0.7, dtype=torch.float64))
    exact = -(0.7**2) / 2.5 - math.log(2 * math.pi * 1.25) / 2
    found = evidence_error(log_w, exact)
    assert abs(found.value) < 4 * found.standard_error < 0.1
    assert evidence_error(log_w, exact + 0.3).value < -4 * found.standard_error


def test_the_standard_error_is_that_of_repetitions():
    # log-normal weights: sd(w) / mean(w) = sqrt(exp(s^2) - 1)
    log_w = 0.5 * Randomness(1, torch.arange(200)).normal(400, dtype=torch.float64)
    found = [log_mean_exp(row) for row in log_w]
    values = torch.tensor([one.value for one in found])
    expected = math.sqrt(math.expm1(0.25) / 400)
    assert values.mean().item() == pytest.approx(0.125, abs=4 * expected / 200**0.5 + expected**2)
    assert values.std().item() == pytest.approx(expected, rel=4 / math.sqrt(400))
    assert sum(one.standard_error for one in found) / 200 == pytest.approx(expected, rel=0.05)


def test_large_numbers_do_not_overflow():
    assert log_mean_exp(torch.tensor([-5000.0, -5000.0])).value == pytest.approx(-5000)
    assert log_mean_exp(torch.tensor([5000.0, -math.inf])).value == pytest.approx(5000 - math.log(2))
