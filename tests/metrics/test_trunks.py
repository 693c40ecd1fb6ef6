"""Small and grey images reach the trunks enlarged and as RGB."""

import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.metrics.trunks import Trunk, as_rgb
from diffusion_lit.metrics.weights import Convolution


def test_grey_is_repeated_and_small_is_enlarged_keeping_the_shape_of_the_frame():
    enlarged = as_rgb(torch.full((2, 1, 28, 42), 0.5))
    assert enlarged.shape == (2, 3, 64, 96)
    torch.testing.assert_close(enlarged, torch.full_like(enlarged, 0.5))
    large = torch.randn(2, 3, 64, 80)
    assert as_rgb(large) is large


def test_other_channel_counts_are_refused():
    with pytest.raises(UserError, match="not 4"):
        as_rgb(torch.zeros(1, 4, 64, 64))


def test_trunk_has_the_resolutions_of_alexnet_and_stays_in_eval_mode():
    shapes = [(64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3)]
    weights = [Convolution(torch.randn(o, i, k, k) / (i * k * k) ** 0.5, torch.zeros(o)) for o, i, k in shapes]
    trunk = Trunk("alex", weights).train()
    assert not any(module.training for module in trunk.modules())
    assert not any(parameter.requires_grad for parameter in trunk.parameters())
    assert [tuple(tap.shape[1:]) for tap in trunk(torch.randn(1, 3, 64, 64))] == [
        (64, 15, 15),
        (192, 7, 7),
        (384, 3, 3),
        (256, 3, 3),
        (256, 3, 3),
    ]
