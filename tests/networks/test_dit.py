"""The DiT keeps shapes, starts at zero, and knows where its patches are."""

import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.networks.dit import DiT, sine_cosine_positions


@pytest.mark.parametrize(("channels", "size", "patch"), [(1, (28, 28), 4), (3, (10, 15), 5), (2, (7, 3), 1)])
def test_shape_is_kept_and_the_initial_output_is_zero(awake, channels, size, patch):
    network = DiT(channels, size, patch, width=32, depth=2, heads=2)
    x = torch.randn(2, channels, *size)
    output = network(x, torch.zeros(2))
    assert output.shape == x.shape
    assert not output.any()
    assert awake(network)(x, torch.zeros(2)).std() > 1e-3


def test_blocks_are_the_identity_at_initialisation():
    network = DiT(width=32, depth=3)
    tokens = torch.randn(2, 5, 32)
    for block in network.blocks:
        torch.testing.assert_close(block(tokens, torch.randn(2, 32)), tokens)


def test_patches_come_back_where_they_were():
    network = DiT(2, (6, 8), patch=2, width=8, depth=0)
    network.norm = torch.nn.Identity()
    torch.nn.init.zeros_(network.modulation.weight)
    torch.nn.init.zeros_(network.modulation.bias)
    # A stem and a head that are the identity leave x plus the positions.
    for layer in (network.stem, network.head):
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    x = torch.randn(1, 2, 6, 8)
    positions = network(torch.zeros_like(x), torch.zeros(1))
    torch.testing.assert_close(network(x, torch.zeros(1)) - positions, x)


def test_positions_are_distinct_and_separate_rows_from_columns():
    positions = sine_cosine_positions(4, 6, 16)
    assert positions.shape == (24, 16)
    assert torch.pdist(positions).min() > 0.1
    grid = positions.unflatten(0, (4, 6))
    torch.testing.assert_close(grid[1] - grid[0], (grid[1, :1] - grid[0, :1]).expand(6, -1))


def test_samples_do_not_mix_and_the_condition_counts(awake):
    network = awake(DiT(width=32, depth=2, heads=2, classes=3))
    x, level, label = torch.randn(3, 1, 28, 28), torch.tensor([-2.0, 0.0, 2.0]), torch.tensor([0, 1, 3])
    together = network(x, level, label=label)
    alone = torch.cat([network(x[i : i + 1], level[i : i + 1], label=label[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    plain = network(x, level)
    torch.testing.assert_close(plain[2], together[2], rtol=1e-4, atol=1e-5)
    assert (plain[:2] - together[:2]).abs().amax(dim=(1, 2, 3)).min() > 1e-4
    assert (network(x, level + 0.5) - plain).abs().max() > 1e-4
    plain.square().mean().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_what_does_not_fit_is_said():
    with pytest.raises(UserError, match="28 x 30 cannot be cut into patches of 4 x 4"):
        DiT(size=(28, 30))
    with pytest.raises(UserError, match="width: 50 must be a multiple of 4"):
        DiT(width=50)
    with pytest.raises(UserError, match="30 x 28"):
        DiT(width=32, depth=1)(torch.zeros(1, 1, 30, 28), torch.zeros(1))
