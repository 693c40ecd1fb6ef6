"""Fourier masks against numpy's transform, coils, and the patterns of lines."""

import numpy as np
import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators import operators
from diffusion_lit.inverse.operators.fourier import coil_sensitivities, equispaced_lines, gaussian_lines
from diffusion_lit.inverse.operators.transforms import negated

X = torch.randn(2, 2, 7, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MASK = torch.rand(7, 6, generator=torch.Generator().manual_seed(1)) < 0.5


def numpys(x: np.ndarray) -> torch.Tensor:
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(x, axes=(-2, -1)), norm="ortho"), axes=(-2, -1))
    return torch.from_numpy(np.stack((spectrum.real, spectrum.imag), axis=-3))


def test_real_images() -> None:
    y = operators["fourier_mask"](shape=(2, 7, 6), mask=MASK)(X)
    torch.testing.assert_close(y, torch.where(MASK, numpys(X.numpy()), 0.0))


def test_complex_images_by_one_coil_and_by_several() -> None:
    image = X[:, 0].numpy() + 1j * X[:, 1].numpy()
    y = operators["mri"](shape=(2, 7, 6), mask=MASK)(X)
    torch.testing.assert_close(y[:, 0], torch.where(MASK, numpys(image), 0.0))
    maps = coil_sensitivities(3, 7, 6)
    s = maps[:, 0].numpy() + 1j * maps[:, 1].numpy()
    expected = torch.where(MASK, numpys(s * image[:, None]), 0.0)
    for more in ({"coils": 3}, {"sensitivities": maps}):
        torch.testing.assert_close(operators["mri"](shape=(2, 7, 6), mask=MASK, **more)(X), expected)


def test_coils_see_everything_together() -> None:
    maps = coil_sensitivities(4, 9, 8)
    torch.testing.assert_close(maps.square().sum((0, 1)), torch.ones(9, 8, dtype=torch.float64))
    assert float((maps[0] - maps[2]).norm()) > 1


def test_a_frequency_and_its_negative() -> None:
    spectrum = numpys(X.numpy())
    torch.testing.assert_close(negated(spectrum)[..., 0, :, :], spectrum[..., 0, :, :])
    torch.testing.assert_close(negated(spectrum)[..., 1, :, :], -spectrum[..., 1, :, :])


@pytest.mark.parametrize("n", [6, 28, 31, 64])
@pytest.mark.parametrize("acceleration", [2, 4.0])
def test_lines_keep_to_their_budget(n: int, acceleration: float) -> None:
    for lines in (equispaced_lines(n, acceleration, 0.1), gaussian_lines(n, acceleration, 0.1, seed=3)):
        assert int(lines.sum()) == round(n / acceleration)
        assert bool(lines[n // 2])


def test_patterns() -> None:
    lines = equispaced_lines(320, 4, 0.08)
    middle = round(0.08 * 320)
    assert lines[160 - middle // 2 : 160 - middle // 2 + middle].all()
    gaps = lines[:140].nonzero()[:, 0].diff()
    assert int(gaps.max() - gaps.min()) <= 1
    random = torch.stack([gaussian_lines(64, 4, 0.0, seed=s) for s in range(200)]).double().mean(0)
    assert float(random[24:40].mean()) > 2 * float(torch.cat((random[:8], random[-8:])).mean())
    assert not torch.equal(gaussian_lines(64, 4, 0.0, 1), gaussian_lines(64, 4, 0.0, 2))
    mask = operators["mri"](shape=(2, 5, 64), pattern="gaussian", seed=1, centre=0.0).observed
    assert torch.equal(mask, gaussian_lines(64, 4, 0.0, 1).expand(1, 2, 5, 64))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: operators["mri"](shape=(1, 8, 8)), "real and the imaginary part"),
        (lambda: operators["mri"](shape=(2, 8, 8), coils=0), "0 coils"),
        (lambda: operators["mri"](shape=(2, 8, 8), mask=torch.ones(8, 8).bool()), "measures 64 of 64"),
        (lambda: operators["fourier_mask"](shape=(1, 8, 8), mask=torch.zeros(8)), "measures 0 of 64"),
        (lambda: operators["fourier_mask"](shape=(1, 8, 6), mask=torch.ones(6, 8)), r"a mask of \(6, 8\)"),
        (lambda: operators["fourier_mask"](shape=(1, 8, 8), acceleration=1), "1 < acceleration"),
        (lambda: operators["fourier_mask"](shape=(1, 8, 8), acceleration=4, centre=0.5), "centre 0.5"),
        (lambda: operators["fourier_mask"](shape=(1, 8, 8), pattern="spiral"), "'spiral' is not one of"),
        (lambda: operators["mri"](shape=(2, 8, 8), sensitivities=torch.ones(3, 8, 8)), r"\(3, 8, 8\); give \(coils"),
    ],
)
def test_bad_input(make, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()
