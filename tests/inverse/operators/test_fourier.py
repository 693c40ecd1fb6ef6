"""Fourier masks of real images against numpy's transform."""

import torch

from diffusion_lit.inverse.operators import operators
from diffusion_lit.inverse.operators.transforms import negated
from tests.inverse.operators.spectra import MASK, X, numpys


def test_real_images() -> None:
    y = operators["fourier_mask"](shape=(2, 7, 6), mask=MASK)(X)
    torch.testing.assert_close(y, torch.where(MASK, numpys(X.numpy()), 0.0))


def test_a_frequency_and_its_negative() -> None:
    spectrum = numpys(X.numpy())
    torch.testing.assert_close(negated(spectrum)[..., 0, :, :], spectrum[..., 0, :, :])
    torch.testing.assert_close(negated(spectrum)[..., 1, :, :], -spectrum[..., 1, :, :])
