"""Projections: sums, mass, a disc in closed form, and scikit-image's."""

import numpy as np
import pytest
import torch
from skimage.transform import radon as reference

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators import operators

X = torch.rand(2, 3, 7, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_right_angles_are_sums_and_every_angle_keeps_the_mass() -> None:
    y = operators["radon"](shape=(3, 7, 10), angles=[0, 90, 180, 33.3, -71.0], detectors=14)(X)
    assert y.shape == (2, 3, 5, 14)
    torch.testing.assert_close(y[:, :, 0, 2:12], X.sum(2), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(y[:, :, 2, 2:12], X.sum(2).flip(-1), atol=1e-5, rtol=1e-5)
    ascending = X.sum(3).flip(-1)  # detectors along the y axis, upwards; 7 rows lie between those of 14 detectors
    expected = (torch.nn.functional.pad(ascending, (0, 1)) + torch.nn.functional.pad(ascending, (1, 0))) / 2
    torch.testing.assert_close(y[:, :, 1, 3:11], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(y.sum(-1), X.sum((2, 3))[..., None].expand(2, 3, 5))


def test_a_disc_has_its_chords() -> None:
    grid = torch.arange(64, dtype=torch.float64) - 31.5
    disc = ((grid[:, None] ** 2 + grid**2) < 20.0**2).double()[None, None]
    y = operators["radon"](shape=(1, 64, 64), angles=7, detectors=64)(disc)[0, 0]
    chord = 2 * (20.0**2 - grid**2).clamp_min(0).sqrt()
    inside = grid.abs() < 17
    assert float((y - chord)[:, inside].abs().max()) < 1.5  # the disc is made of pixels
    assert float((y - chord)[:, inside].mean().abs()) < 0.2


def test_it_turns_as_scikit_image_does() -> None:
    grid = np.arange(41) - 20
    blob = np.exp(-((grid[:, None] - 5) ** 2 + (grid - 8) ** 2) / 18) + np.exp(
        -(grid[:, None] ** 2 + (grid + 9) ** 2) / 8
    )
    blob[grid[:, None] ** 2 + grid**2 > 20**2] = 0
    y = operators["radon"](shape=(1, 41, 41), angles=[0, 30, 75, 120], detectors=41)(torch.from_numpy(blob)[None, None])
    expected = reference(blob, theta=[0, 30, 75, 120]).T
    assert np.abs(y[0, 0].numpy() - expected).max() < 0.05 * expected.max()


def test_bad_input() -> None:
    for settings, words in (
        ({"angles": 0}, "0 angles"),
        ({"angles": []}, "0 angles"),
        ({"angles": 5, "arc": 0}, "arc of 0"),
        ({"detectors": 0}, "0 detectors"),
        ({"angles": [float("nan")]}, "finite"),
    ):
        with pytest.raises(UserError, match=words):
            operators["radon"](shape=(1, 4, 4), **settings)
