"""Compressed sensing: Hadamard's matrix, orthonormal rows at any size, the law of Gaussian weights."""

import pytest
import torch
from scipy.linalg import hadamard as reference

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators import operators
from diffusion_lit.inverse.operators.transforms import hadamard, hartley


@pytest.mark.parametrize("n", [1, 2, 8, 64])
def test_hadamard_is_sylvesters(n: int) -> None:
    expected = torch.from_numpy(reference(n)) / n**0.5
    torch.testing.assert_close(hadamard(torch.eye(n, dtype=torch.float64)), expected.double())


def test_hartley_is_its_own_inverse() -> None:
    x = torch.randn(2, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(hartley(hartley(x)), x)
    assert not torch.allclose(hartley(x), x)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 5, 7), (2, 6, 4)])
def test_rows_are_orthonormal_at_any_size(shape: tuple[int, int, int]) -> None:
    operator = operators["hadamard_sensing"](shape=shape, ratio=0.2, seed=1)
    a = operator.matrix()
    torch.testing.assert_close(a @ a.mT, torch.eye(len(a), dtype=torch.float64), atol=1e-10, rtol=0)
    assert len(a) == round(0.2 * shape[0] * shape[1] * shape[2])


def test_a_power_of_two_is_signs_only() -> None:
    a = operators["hadamard_sensing"](shape=(1, 8, 8), ratio=0.5).matrix()
    torch.testing.assert_close(a.abs(), torch.full_like(a, 1 / 8))
    other = operators["hadamard_sensing"](shape=(1, 8, 8), ratio=0.5, seed=1).matrix()
    assert not torch.equal(a, other)


def test_gaussian_weights() -> None:
    operator = operators["gaussian_sensing"](shape=(1, 28, 28), ratio=0.25)
    assert operator.y_shape == (196,)
    weights = operator.entries * 14  # of unit variance
    assert abs(float(weights.mean())) < 5 / (196 * 784) ** 0.5
    assert abs(float(weights.var()) - 1) < 5 * (2 / (196 * 784)) ** 0.5
    assert float((weights[0] @ weights[1]).abs()) < 5 * 28


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: operators["gaussian_sensing"](shape=(1, 4, 4), ratio=1.0), "ratio 1.0"),
        (lambda: operators["hadamard_sensing"](shape=(1, 4, 4), ratio=0.01), "ratio 0.01 of 16"),
        (lambda: operators["gaussian_sensing"](shape=(3, 256, 256), ratio=0.25), "use hadamard_sensing"),
    ],
)
def test_bad_input(make, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()
