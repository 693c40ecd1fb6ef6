"""The MLP keeps shapes, starts at zero, and learns a score that is known."""

import pytest
import torch

from diffusion_lit.networks.embedding import Fourier
from diffusion_lit.networks.mlp import MLP


@pytest.mark.parametrize("frequencies", [(), (0.5, 1.0, 2.0)])
def test_shape_is_kept_and_the_initial_output_is_zero(awake, frequencies):
    network = MLP(3, width=16, depth=2, frequencies=frequencies, classes=2)
    x, level = torch.randn(4, 3), torch.zeros(4)
    assert not network(x, level).any()
    output = awake(network)(x, level, label=torch.tensor([0, 1, 2, 2]))
    assert output.shape == x.shape
    torch.testing.assert_close(output[2:], network(x[2:], level[2:]))
    output.square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_it_learns_the_denoiser_of_two_points():
    # For data at -1 and 1, E[x_0 | x] = tanh(x / sigma^2).
    torch.manual_seed(0)
    network = MLP(1, width=32, depth=2)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(600):
        data, sigma = torch.randint(0, 2, (256, 1)) * 2.0 - 1, torch.rand(256, 1) * 0.7 + 0.3
        loss = (network(data + sigma * torch.randn_like(data), sigma.log().squeeze(1) / 4) - data).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for sigma in (0.4, 0.6, 0.9):
        x = torch.randint(0, 2, (2000, 1)) * 2.0 - 1 + sigma * torch.randn(2000, 1)
        error = network(x, torch.full((2000,), sigma).log() / 4) - torch.tanh(x / sigma**2)
        assert error.square().mean().sqrt() < 0.1  # of a signal whose root mean square is 0.7 to 0.97


def test_fourier_features_are_unit_vectors_that_tell_levels_apart():
    levels = torch.linspace(-2.5, 2.5, 101)
    features = Fourier(8)(levels)
    assert features.shape == (101, 16)
    torch.testing.assert_close(features.square().sum(dim=-1), torch.full((101,), 8.0))
    assert torch.pdist(features).min() > 0.1


def test_more_outputs_than_inputs():
    assert MLP(3, width=16, depth=1, outputs=6)(torch.zeros(2, 3), torch.zeros(2)).shape == (2, 6)


def test_far_away_the_output_grows_linearly():
    # eps does so far from the data; an output that saturates would never pull a stray sample back
    torch.manual_seed(0)
    network = MLP(2, width=32)
    torch.nn.init.normal_(network.head.weight)
    x, level = torch.randn(8, 2), torch.zeros(8)
    far, further = network(1e4 * x, level), network(2e4 * x, level)
    torch.testing.assert_close(further / far, torch.full_like(far, 2.0), rtol=1e-2, atol=0)
