"""Complex images by one coil and by several, against numpy's transform."""

import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators import operators
from diffusion_lit.inverse.operators.magnetic_resonance import coil_sensitivities
from tests.inverse.operators.spectra import MASK, X, numpys


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


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: operators["mri"](shape=(1, 8, 8)), "real and the imaginary part"),
        (lambda: operators["mri"](shape=(2, 8, 8), coils=0), "0 coils"),
        (lambda: operators["mri"](shape=(2, 8, 8), sensitivities=torch.ones(3, 8, 8)), r"\(3, 8, 8\); give \(coils"),
    ],
)
def test_bad_input(make, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()
