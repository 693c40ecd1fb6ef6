"""Which frequencies are measured: budgets, patterns, masks."""

import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators import operators
from diffusion_lit.inverse.operators.frequencies import equispaced_lines, gaussian_lines


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
        (lambda: operators["mri"](shape=(2, 8, 8), mask=torch.ones(8, 8).bool()), "measures 64 of 64"),
        (lambda: operators["fourier_mask"](shape=(1, 8, 8), mask=torch.zeros(8)), "measures 0 of 64"),
        (lambda: operators["fourier_mask"](shape=(1, 8, 6), mask=torch.ones(6, 8)), r"a mask of \(6, 8\)"),
        (lambda: operators["fourier_mask"](shape=(1, 8, 8), acceleration=1), "1 < acceleration"),
        (lambda: operators["fourier_mask"](shape=(1, 8, 8), acceleration=4, centre=0.5), "centre 0.5"),
        (lambda: operators["fourier_mask"](shape=(1, 8, 8), pattern="spiral"), "'spiral' is not one of"),
    ],
)
def test_bad_input(make, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()
