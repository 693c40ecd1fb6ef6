"""LPIPS has the reference's numbers on photographs, and the properties of a distance."""

import pytest
import torch
from skimage.data import astronaut, chelsea

from diffusion_lit.metrics.lpips import LPIPS


def corner(photo, side=256):
    return torch.from_numpy(photo[:side, :side]).permute(2, 0, 1)[None] / 127.5 - 1


@pytest.mark.parametrize("first", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_vgg_on_photographs(first):
    # The reference numbers name no crop. Of six preparations the top-left 256 pixels agree with them, to .006;
    # so this pins the scale of the distance and the order of the images, not the third digit.
    photo, noise = corner(astronaut()), torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    others = [photo + 0.05 * noise, photo + 0.2 * noise, photo + 0.5 * noise, corner(chelsea())]
    metric = LPIPS("vgg")
    with torch.no_grad():
        distances = torch.cat([metric(other, photo) for other in others[first::2]])
    torch.testing.assert_close(distances, torch.tensor([0.168, 0.492, 0.722, 0.743])[first::2], rtol=0, atol=0.012)


def test_alex_is_zero_on_itself_symmetric_and_takes_small_grey_images():
    metric = LPIPS("alex")
    digits, other = torch.rand(2, 3, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(metric(digits, digits), torch.zeros(3))
    torch.testing.assert_close(metric(digits, other), metric(other, digits))
    assert metric(digits, other).shape == (3,)
    assert (metric(digits, other) > metric(digits, digits + 0.05 * other)).all()


def test_gradients_reach_the_images_and_not_the_weights():
    metric = LPIPS("alex").train()
    image = torch.zeros(1, 3, 64, 64, requires_grad=True)
    metric(image, torch.ones(1, 3, 64, 64)).sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert image.grad.any()
    assert not any(p.requires_grad for p in metric.parameters())
