"""PSNR and SSIM are those of scikit-image, one number per image."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from diffusion_lit.errors import UserError
from diffusion_lit.metrics.image import psnr, ssim


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(3, 1, 28, 20, generator=generator) * 2 - 1
    noise = torch.randn(3, 1, 28, 20, generator=generator)
    return truth + torch.tensor([0.05, 0.2, 0.8])[:, None, None, None] * noise, truth


def test_against_scikit_image(pair):
    images, truth = pair
    arrays = [(a[0].double().numpy(), b[0].double().numpy()) for a, b in zip(images, truth)]
    expected = [peak_signal_noise_ratio(b, a, data_range=2) for a, b in arrays]
    np.testing.assert_allclose(psnr(images, truth), expected, rtol=1e-5)
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 2}
    expected = [structural_similarity(b, a, **window) for a, b in arrays]
    np.testing.assert_allclose(ssim(images, truth), expected, rtol=1e-4)


def test_psnr_on_a_mask_ignores_the_rest(pair):
    images, truth = pair
    mask = torch.zeros(28, 20, dtype=torch.bool)
    mask[8:20, 4:16] = True
    expected = psnr(images[..., 8:20, 4:16], truth[..., 8:20, 4:16])
    images = torch.where(mask, images, torch.full_like(images, 100.0))
    torch.testing.assert_close(psnr(images, truth, mask), expected)
    torch.testing.assert_close(psnr(images, truth, mask.expand(3, 1, -1, -1)), expected)
    assert psnr(truth, truth, mask).isinf().all()


def test_colour_and_equal_images():
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(ssim(x, x), torch.ones(2))
    torch.testing.assert_close(ssim(x[:1], -x[:1]).shape, torch.Size([1]))


def test_what_does_not_fit_is_said(pair):
    images, truth = pair
    with pytest.raises(UserError, match=r"\(28, 28\) does not fit images of shape \(3, 1, 28, 20\)"):
        psnr(images, truth, torch.ones(28, 28, dtype=torch.bool))
    with pytest.raises(UserError, match="no pixel"):
        psnr(images, truth, torch.zeros(28, 20, dtype=torch.bool))
    with pytest.raises(UserError, match="8 x 8"):
        ssim(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))
