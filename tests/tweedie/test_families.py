"""Closed forms: a Gamma law of the parameter is conjugate to Poisson counts and to Gamma noise."""

import math

import pytest
import torch
from torch import Tensor

from diffusion_lit.tweedie import ExponentialFamily, robbins

A, B = 2.5, 0.5  # x ~ Gamma(A, rate B)


def slope(log_density, y: Tensor) -> Tensor:
    return torch.func.jvp(log_density, (y,), (torch.ones_like(y),))[1]


def log_counts(k: Tensor, rate: float = B) -> Tensor:
    """The negative binomial: Poisson counts of a Gamma(A, rate) mean, at real k."""
    return (
        (k + A).lgamma() - (k + 1).lgamma() + A * math.log(rate / (1 + rate)) - k * math.log(1 + rate) - math.lgamma(A)
    )


def test_gaussian_is_exact():
    """x ~ N(1, 4), y ~ N(x, .25): E[x | y] = (y / .25 + 1 / 4) / (1 / .25 + 1 / 4)."""
    y = torch.linspace(-5, 5, 11, dtype=torch.float64)
    score = slope(lambda y: -((y - 1) ** 2) / (2 * 4.25), y)
    family = ExponentialFamily.gaussian(0.5)
    torch.testing.assert_close(family(y, score), (4 * y + 0.25) / 4.25)
    torch.testing.assert_close(family.natural(y, score), family(y, score) / 0.25)


def test_robbins_is_exact():
    k = torch.arange(40, dtype=torch.float64)
    pmf = log_counts(k).exp()
    torch.testing.assert_close(robbins(pmf), (k[:-1] + A) / (B + 1))


def test_poisson_is_low_by_half_over_b_plus_one():
    k = torch.arange(4, 60, dtype=torch.float64)
    estimate = ExponentialFamily.poisson()(k, slope(log_counts, k))
    torch.testing.assert_close(estimate, (k - 0.5 + A) / (B + 1), rtol=0, atol=0.02)  # the bias is the formula's own
    # what it approximates to 1 / (24 k^2) is the geometric posterior mean exp(E[log x | y])
    torch.testing.assert_close(estimate, ((k + A).digamma() - math.log(B + 1)).exp(), rtol=1 / (24 * 16), atol=0)


def test_poisson_with_a_gain():
    """y = gain k with x / gain ~ Gamma(A, B): all of it scales."""
    gain, k = 0.3, torch.arange(4, 30, dtype=torch.float64)
    score = slope(lambda y: log_counts(y / gain), gain * k)
    torch.testing.assert_close(
        ExponentialFamily.poisson(gain)(gain * k, score), gain * ExponentialFamily.poisson()(k, slope(log_counts, k))
    )


@pytest.mark.parametrize("shape", [2.0, 10.0])
def test_gamma_is_the_harmonic_posterior_mean(shape: float):
    """1 / x ~ Gamma(A, B): p(y) ~ y^(k - 1) (B + k y)^-(A + k), k the shape; E[1/x | y] = (A + k) / (B + k y)."""
    y = torch.linspace(0.2, 6, 20, dtype=torch.float64)
    score = slope(lambda y: (shape - 1) * y.log() - (A + shape) * (B + shape * y).log(), y)
    torch.testing.assert_close(ExponentialFamily.gamma(shape)(y, score), (B + shape * y) / (A + shape))
