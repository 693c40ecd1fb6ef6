"""The U-Net keeps shapes, starts at zero, says what it cannot do and is conditioned by what it is given."""

import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.networks.unet import UNet


@pytest.mark.parametrize(
    ("channels", "size", "options"),
    [
        (1, (28, 28), {}),
        (3, (14, 22), {"fold": 1, "attention": (4,), "multipliers": (1, 2)}),
        (1, (13, 9), {"fold": 0, "attention": (4,), "multipliers": (1, 1, 2)}),
        (3, (32, 16), {"fold": 2, "attention": (), "multipliers": (1,)}),
    ],
)
def test_shape_is_kept_and_the_initial_output_is_zero(awake, channels, size, options):
    network = UNet(channels, size, width=16, blocks=1, **options)
    x = torch.randn(2, channels, *size)
    output = network(x, torch.zeros(2))
    assert output.shape == x.shape
    assert not output.any()
    assert awake(network)(x, torch.zeros(2)).std() > 1e-3


def test_samples_do_not_mix_and_memory_format_does_not_matter(awake):
    network = awake(UNet(width=16, blocks=1))
    x, level = torch.randn(3, 1, 28, 28), torch.tensor([-2.0, 0.0, 2.0])
    together = network(x, level)
    alone = torch.cat([network(x[i : i + 1], level[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together, network(x.mT.contiguous().mT, level), rtol=1e-4, atol=1e-5)


def test_every_parameter_receives_a_gradient(awake):
    network = awake(UNet(width=16, blocks=1, classes=3))
    network(torch.randn(4, 1, 28, 28), torch.randn(4), label=torch.tensor([0, 1, 2, 3])).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_noise_level_and_label_condition_the_output(awake):
    network = awake(UNet(width=16, blocks=1, classes=3))
    x, level = torch.randn(1, 1, 28, 28), torch.zeros(1)
    plain = network(x, level)
    assert (network(x, level + 0.5) - plain).abs().max() > 1e-4
    assert (network(x, level, label=torch.tensor([1])) - plain).abs().max() > 1e-4
    torch.testing.assert_close(network(x, level, label=torch.tensor([3])), plain)


def test_what_does_not_fit_is_said():
    with pytest.raises(UserError, match=r"27 x 28 .* folded 1 times"):
        UNet(size=(27, 28))
    with pytest.raises(UserError, match=r"\[16\].*heights are \[14, 7\]"):
        UNet(attention=(16,))
    with pytest.raises(UserError, match="30 x 27"):
        UNet(width=16, blocks=1)(torch.zeros(1, 1, 30, 27), torch.zeros(1))
    with pytest.raises(UserError, match="no classes"):
        UNet(width=16, blocks=1)(torch.zeros(1, 1, 28, 28), torch.zeros(1), label=torch.tensor([0]))


def test_double_precision_and_reload(awake):
    network = awake(UNet(width=16, blocks=1)).double()
    x, level = torch.randn(2, 1, 28, 28).double(), torch.randn(2).double()
    other = UNet(width=16, blocks=1).double()
    other.load_state_dict(network.state_dict())
    torch.testing.assert_close(other(x, level), network(x, level))
    assert network(x, level).dtype == torch.float64


def test_more_outputs_than_inputs():
    network = UNet(channels=3, size=(8, 8), width=16, blocks=1, attention=(), outputs=6)
    assert network(torch.zeros(2, 3, 8, 8), torch.zeros(2)).shape == (2, 6, 8, 8)
