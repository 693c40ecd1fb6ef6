"""NCSNv2's techniques against the paper's numbers, and its network against its formula."""

import math

import pytest
import torch
from torch import Tensor, nn

from diffusion_lit.denoise import EPS, NCSN, NetworkDenoiser
from diffusion_lit.networks.mlp import MLP
from diffusion_lit.noise import VE
from diffusion_lit.objectives.ncsn import largest_distance, level_count, level_ratio, step_size


@pytest.mark.parametrize("chunk", [3, 1024])
def test_the_largest_distance(chunk: int):
    data = torch.zeros(7, 1, 2, 2)
    data[2, 0, 0, 0], data[5, 0, 1, 1] = 3.0, -4.0
    assert largest_distance(data, chunk) == pytest.approx(5)


@pytest.mark.parametrize(("dimensions", "ratio"), [(64, 1.3608), (784, 1.0820), (3072, 1.0398)])
def test_the_ratio_of_levels(dimensions: int, ratio: float):
    assert level_ratio(dimensions) == pytest.approx(ratio, abs=5e-5)


def test_the_ratio_exists_from_five_dimensions_on():
    gamma = level_ratio(5)
    middle = torch.tensor(math.sqrt(10) * (gamma - 1), dtype=torch.float64)
    overlap = torch.special.ndtr(middle + 3 * gamma) - torch.special.ndtr(middle - 3 * gamma)
    assert float(overlap) == pytest.approx(0.5, abs=1e-9)
    with pytest.raises(ValueError, match="4 < 5"):
        level_ratio(4)


def test_the_number_of_levels_has_at_most_the_ratio():
    count = level_count(0.01, 50.0, 3072)
    assert (50.0 / 0.01) ** (1 / (count - 1)) <= level_ratio(3072) < (50.0 / 0.01) ** (1 / (count - 2))


def test_the_step_size_of_the_paper():
    """CIFAR-10: L = 232, sigma 50 to 0.01, T = 5, where the paper takes 6.2e-6."""
    assert step_size(0.01, 50.0, 232, 5) == pytest.approx(6.19e-6, rel=2e-3)


def test_the_step_size_leaves_the_variance_that_it_says():
    """Langevin steps on N(0, sigma^2), from the variance of the level above: nearer to 1 than with other steps."""
    levels, steps, sigma_min = 20, 7, 0.1
    gamma2 = 10.0 ** (2 / (levels - 1))

    def left(epsilon: float) -> float:
        variance, share = gamma2, epsilon / sigma_min**2
        for _ in range(steps):
            variance = (1 - share) ** 2 * variance + 2 * share
        return abs(variance - 1)

    best = step_size(sigma_min, 1.0, levels, steps)
    assert left(best) < min(left(0.9 * best), left(1.1 * best))


def test_a_network_without_noise_levels_has_the_score_of_technique_three():
    torch.manual_seed(0)
    network = MLP(3, width=16, depth=1)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    schedule, x = VE(0.01, 10.0), torch.randn(4, 3)
    t = torch.tensor([0.1, 0.4, 0.8, 1.0])
    denoiser = NetworkDenoiser(network, schedule, NCSN)
    _, sigma = schedule(t)
    expected: Tensor = -network(x, torch.zeros(4)) / sigma[:, None]
    assert not torch.allclose(network(x, torch.ones(4)), network(x, torch.zeros(4)), rtol=0.1)
    torch.testing.assert_close(denoiser.score(x, t), expected, rtol=1e-3, atol=1e-3)
    scaled = NetworkDenoiser(network, schedule, EPS)
    assert not torch.allclose(scaled.score(x, t), expected, rtol=0.1)
