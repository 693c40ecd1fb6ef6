"""Convolutions against scipy's, and the kernels of motion."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators import operators
from diffusion_lit.inverse.operators.convolution import line_kernel

SHAPE = (2, 7, 5)
X = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("boundary", "mode"), [("circular", "wrap"), ("reflect", "reflect")])
@pytest.mark.parametrize("size", [(3, 3), (1, 5), (4, 2), (7, 5), (2, 3)])
def test_convolution_is_scipys(boundary: str, mode: str, size: tuple[int, int]) -> None:
    kernel = torch.randn(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    operator = operators["convolve"](shape=SHAPE, kernel=kernel, boundary=boundary)
    expected = np.stack([[ndimage.convolve(c, kernel.numpy(), mode=mode) for c in image] for image in X.numpy()])
    torch.testing.assert_close(operator(X), torch.from_numpy(expected))


def test_a_blur_that_loses_frequencies_has_zero_singular_values() -> None:
    operator = operators["convolve"](shape=(1, 6, 4), kernel=[[0.5, 0.5]])
    s = operator.svd().s
    assert int((s < 1e-12).sum()) == 6  # the highest frequency of every row
    x = X[:, :1, :6, :4]
    torch.testing.assert_close(operator(operator.pinv(operator(x))), operator(x))
    assert float(operator.pinv(operator(x)).abs().max()) < 100


def test_motion_keeps_light_and_runs_along_its_line() -> None:
    for angle in (0.0, 30.0, 90.0, 135.0, -45.0):
        kernel = line_kernel(6.0, angle)
        assert float(kernel.sum()) == pytest.approx(1)
        assert torch.allclose(kernel, kernel.flip(0, 1))  # the camera moves evenly
        y, x = torch.meshgrid(*(torch.arange(n) - n // 2 for n in kernel.shape), indexing="ij")
        along = x * np.cos(np.radians(angle)) - y * np.sin(np.radians(angle))
        across = x * np.sin(np.radians(angle)) + y * np.cos(np.radians(angle))
        # a line of length 6 has the variance 36 / 12; sharing between pixels adds at most 1/4 to each
        assert 3 - 1e-2 <= float((kernel * along**2).sum()) < 3.26
        assert float((kernel * across**2).sum()) < 0.26
    assert line_kernel(5.0, 0.0).shape == (1, 7)
    assert line_kernel(5.0, 90.0).shape == (7, 1)
    assert (
        operators["motion_blur"](shape=(1, 9, 9), length=5, angle=0)(torch.ones(1, 1, 9, 9)).sub(1).abs().max() < 1e-6
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: operators["convolve"](shape=SHAPE, kernel=torch.ones(8, 1)), r"\(8, 1\) on images of 7 x 5"),
        (lambda: operators["convolve"](shape=SHAPE, kernel=torch.ones(3)), r"\(3,\)"),
        (lambda: operators["convolve"](shape=SHAPE, kernel=torch.full((3, 3), torch.nan)), "finite"),
        (lambda: operators["convolve"](shape=SHAPE, kernel=torch.zeros(3, 3)), "0 everywhere"),
        (lambda: operators["convolve"](shape=SHAPE, kernel=torch.ones(3, 3), boundary="zero"), "'zero' is not one of"),
        (lambda: operators["motion_blur"](shape=SHAPE, length=0), "length 0"),
        (lambda: operators["motion_blur"](shape=SHAPE, length=40), "not larger than the image"),
    ],
)
def test_bad_input(make, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()
