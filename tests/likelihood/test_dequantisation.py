import math

import numpy as np
import pytest
import torch
from torch import Tensor

from diffusion_lit.data.images import to_unit
from diffusion_lit.errors import UserError
from diffusion_lit.likelihood import Dequantisation, Dequantised, GaussianPrior
from diffusion_lit.noise import VP
from diffusion_lit.objectives import DenoisingScoreMatching

from .exact import gaussian

DIGITS = Dequantisation(levels=17)


def test_the_uniform_density_has_log2_levels():
    for dequantisation in (DIGITS, Dequantisation(), Dequantisation(5, 0.0, 10.0)):
        width = dequantisation.width
        range_ = dequantisation.high - dequantisation.low + width
        nats = torch.tensor(64 * math.log(range_))
        assert dequantisation.bits_per_dim(nats, 64).item() == pytest.approx(math.log2(dequantisation.levels))


def test_levels_that_went_through_bytes_are_found():
    levels = np.arange(17)
    x = to_unit(np.round(levels * (255 / 16)).astype(np.uint8).reshape(1, 1, 17))
    copies = x.double().expand(20_000, 1, 1, 17)
    noisy = DIGITS(copies, seed=0, ids=torch.arange(20_000))
    bins = (noisy + 1) / DIGITS.width + 0.5  # k + u
    assert bool((bins.floor() == torch.arange(17)).all())
    u = (bins - bins.floor()).flatten()
    n = u.numel()
    # 3 SE of the mean and of the variance of n uniform numbers: sd 1/sqrt(12), and 1/sqrt(180) of (u - 1/2)^2
    assert abs(u.mean().item() - 0.5) <= 3 / (12 * n) ** 0.5
    assert abs((u - 0.5).square().mean().item() - 1 / 12) <= 3 / (180 * n) ** 0.5


def test_noise_is_named_and_keeps_the_dtype():
    x = torch.zeros(4, 1, 2, 2)
    ids = torch.tensor([3, 1, 4, 1])
    noisy = DIGITS(x, seed=2, ids=ids)
    assert noisy.dtype == torch.float32
    torch.testing.assert_close(noisy[1], noisy[3], rtol=0, atol=0)
    torch.testing.assert_close(DIGITS(x[:1], seed=2, ids=ids[:1]), noisy[:1], rtol=0, atol=0)
    assert not torch.equal(noisy, DIGITS(x, seed=3, ids=ids))


def test_the_density_of_a_bin_is_its_probability():
    """A density that is constant on each bin: bits per dimension are the entropy of the levels."""
    mass = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64)
    dequantisation = Dequantisation(4)
    nats = -(mass * (mass / dequantisation.width).log()).sum()
    assert dequantisation.bits_per_dim(nats, 1).item() == pytest.approx(1.75)


def test_an_objective_sees_noisy_pixels_and_noise_of_its_own():
    denoiser, x, positions = gaussian(VP()), torch.zeros(5, 4, dtype=torch.float64), torch.arange(5)
    plain = DenoisingScoreMatching()
    wrapped = Dequantised(plain, DIGITS)
    noisy = DIGITS(x, seed=1, ids=positions)
    expected = plain(denoiser, noisy, seed=1, positions=positions)
    torch.testing.assert_close(wrapped(denoiser, x, seed=1, positions=positions), expected)
    t = torch.full((5,), 0.3, dtype=torch.float64)
    at: Tensor = wrapped.loss_at(denoiser, x, t, seed=1, positions=positions)
    torch.testing.assert_close(at, plain.loss_at(denoiser, noisy, t, seed=1, positions=positions))
    assert not torch.allclose(at, plain.loss_at(denoiser, x, t, seed=1, positions=positions))


def test_bad_levels_are_told():
    with pytest.raises(UserError, match="levels: 1"):
        Dequantisation(1)
    with pytest.raises(UserError, match="low < high"):
        Dequantisation(4, 1.0, 1.0)


def test_the_prior_is_a_density_and_its_divergence_an_expectation():
    alpha, sigma = torch.tensor(0.3, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)
    prior = GaussianPrior(0.5, 1.5)
    law = torch.distributions.Normal(alpha * 0.5, (alpha**2 * 1.5 + sigma**2).sqrt())
    x = torch.tensor([[0.7, -3.0], [2.0, 0.1]], dtype=torch.float64)
    torch.testing.assert_close(prior.log_prob(x, alpha, sigma), law.log_prob(x).sum(1))
    forward = torch.distributions.Normal(alpha * x, sigma.expand(2, 2))
    expected = torch.distributions.kl_divergence(forward, law).sum(1)
    torch.testing.assert_close(prior.divergence_from(x, alpha, sigma), expected)
